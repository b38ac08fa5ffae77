"""Sanitising whole frames in numpy: the definition that the native kernel follows, and what serves without it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import SAMPLING, rgb_to_chroma, rgb_to_gray, upsample, ycbcr_to_rgb
from edgeguard.dct.integer_dct import Int, forward_dct, inverse_dct, quantize, sanitize_blocks, with_room
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.dct.provable_rounding import provable_pixels
from edgeguard.dct.slack import limits
from edgeguard.jpeg.blocks import BLOCK, join_blocks, pad_to_blocks, split_blocks
from edgeguard.jpeg.tables import Table, as_array

STRIP_BLOCKS = 512  # blocks handled at once: their int32 intermediates stay in the cache


def sanitize_frame(rgb: NDArray[np.uint8], profile: GuardProfile, which: Pass = "only") -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame with a profile of any colour.

    `rgb` quantises each channel, `gray` the luma (returned in all three channels). The `ycbcr*` colours do what a
    JPEG coder and decoder do, less the entropy coding: convert, average chroma, sanitise the planes, enlarge chroma
    with the triangle filter, convert back. `which` pass it is says at which ends the levels keep the profile's room.
    """
    height, width = rgb.shape[:2]
    tables = profile.component_tables
    if profile.color == "rgb":
        return np.stack([_pixel_plane(rgb[:, :, c], profile, tables[c], which) for c in range(3)], axis=2)
    if profile.color == "gray":
        return np.repeat(_pixel_plane(rgb_to_gray(rgb), profile, tables[0], which)[:, :, None], 3, axis=2)
    rows, columns = SAMPLING[profile.color]
    padded = pad_to_blocks(rgb, rows * BLOCK, columns * BLOCK)
    cb, cr = rgb_to_chroma(padded, rows, columns)
    real = (slice(-(-height // rows)), slice(-(-width // columns)))
    y = _sanitize_plane(rgb_to_gray(padded), tables[0])[:height, :width]
    chroma = (_sanitize_plane(plane, table)[real] for plane, table in ((cb, tables[1]), (cr, tables[2])))
    return ycbcr_to_rgb(y, *(upsample(plane, rows, columns, height, width) for plane in chroma))


def _pixel_plane(plane: NDArray[np.uint8], profile: GuardProfile, table: Table, which: Pass) -> NDArray[np.uint8]:
    room_before = profile.room if which != "second" else 0
    room_after = profile.room if which != "first" else 0
    proof_levels = profile.proof_levels if which == "first" else 0
    limit = limits(as_array(table), proof_levels)[:, :, None, None, None] if proof_levels else None

    def blocks_through(blocks: NDArray[np.uint8], steps: Int) -> NDArray[np.uint8]:
        coefficients = with_room(forward_dct(blocks), room_before)
        if limit is not None:
            return provable_pixels(coefficients, steps, limit)
        return inverse_dct(quantize(coefficients, steps), steps, room=room_after)

    return _by_strips(plane, table, blocks_through)


def _sanitize_plane(plane: NDArray[np.uint8], table: Table) -> NDArray[np.uint8]:
    """A plane of a `ycbcr*` colour."""
    return _by_strips(plane, table, lambda blocks, steps: sanitize_blocks(blocks, steps, level_shifted=True))


def _by_strips(
    plane: NDArray[np.uint8], table: Table, through: Callable[[NDArray[np.uint8], Int], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    height, width = plane.shape
    padded = pad_to_blocks(plane[:, :, None])
    steps = as_array(table)[:, :, None, None, None]
    out = np.empty_like(padded)
    rows = max(STRIP_BLOCKS * BLOCK * BLOCK // (padded.shape[1] * BLOCK), 1) * BLOCK
    for top in range(0, padded.shape[0], rows):
        out[top : top + rows] = join_blocks(through(split_blocks(padded[top : top + rows]), steps))
    return out[:height, :width, 0]
