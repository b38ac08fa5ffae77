"""Sanitising whole frames in numpy: the definition that the native kernel follows, and what serves without it."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import SAMPLING, rgb_to_chroma, rgb_to_gray, upsample, ycbcr_to_rgb
from edgeguard.dct.integer_dct import sanitize_blocks
from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.blocks import BLOCK, join_blocks, pad_to_blocks, split_blocks
from edgeguard.jpeg.tables import Table, as_array

STRIP_BLOCKS = 512  # blocks handled at once: their int32 intermediates stay in the cache


def sanitize_frame(rgb: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame with a profile of any colour.

    `rgb` quantises each channel, `gray` the luma (returned in all three channels). The `ycbcr*` colours do what a
    JPEG coder and decoder do, less the entropy coding: convert, average chroma, sanitise the planes, enlarge chroma
    with the triangle filter, convert back.
    """
    height, width = rgb.shape[:2]
    tables = profile.component_tables
    if profile.color == "rgb":
        return np.stack([_sanitize_plane(rgb[:, :, c], tables[c]) for c in range(3)], axis=2)
    if profile.color == "gray":
        return np.repeat(_sanitize_plane(rgb_to_gray(rgb), tables[0])[:, :, None], 3, axis=2)
    rows, columns = SAMPLING[profile.color]
    padded = pad_to_blocks(rgb, rows * BLOCK, columns * BLOCK)
    cb, cr = rgb_to_chroma(padded, rows, columns)
    real = (slice(-(-height // rows)), slice(-(-width // columns)))
    y = _sanitize_plane(rgb_to_gray(padded), tables[0], level_shifted=True)[:height, :width]
    chroma = (
        _sanitize_plane(plane, table, level_shifted=True)[real] for plane, table in ((cb, tables[1]), (cr, tables[2]))
    )
    return ycbcr_to_rgb(y, *(upsample(plane, rows, columns, height, width) for plane in chroma))


def _sanitize_plane(plane: NDArray[np.uint8], table: Table, level_shifted: bool = False) -> NDArray[np.uint8]:
    height, width = plane.shape
    padded = pad_to_blocks(plane[:, :, None])
    steps = as_array(table)[:, :, None, None, None]
    out = np.empty_like(padded)
    rows = max(STRIP_BLOCKS * BLOCK * BLOCK // (padded.shape[1] * BLOCK), 1) * BLOCK
    for top in range(0, padded.shape[0], rows):
        strip = padded[top : top + rows]
        out[top : top + rows] = join_blocks(sanitize_blocks(split_blocks(strip), steps, level_shifted))
    return out[:height, :width, 0]
