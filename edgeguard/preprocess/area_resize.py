"""Resizing by area in integers: the definition that the native kernel follows byte for byte.

An output pixel is the mean of the source pixels under it, partly covered ones by their share. `cv2.INTER_AREA` does the
same in floating point; the two agree within one level.
"""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.integer_dct import Int, mul

_ONE = 1 << 14  # weights are multiples of 2**-14 that add up to 1


def area_weights(start: int, length: int, scale: int, out_size: int) -> tuple[NDArray[np.int64], Int]:
    """For each of `out_size` output pixels the first source pixel, and the weights (out_size, taps) times 2**14.

    The output divides the part `start`..`start + length` evenly, in units of which a source pixel has `scale` (a
    JPEG decoded at half its size has 2, so that a crop may begin in the middle of a pixel). Weights are differences
    of rounded cumulative shares, so that they add up to exactly 2**14.

    Example:
        >>> area_weights(0, 3, 1, 2)[1].tolist()
        [[10923, 5461], [5461, 10923]]
    """
    pixel = scale * out_size  # a source pixel in units of which an output pixel has `length`
    begin = start * out_size + np.arange(out_size, dtype=np.int64) * length
    first = begin // pixel
    taps = int((-(-(begin + length) // pixel) - first).max())
    edges = (first[:, None] + np.arange(taps + 1)) * pixel
    covered = np.clip(edges - begin[:, None], 0, length)
    cumulative = (_ONE * covered + length // 2) // length
    return first, np.diff(cumulative, axis=1).astype(np.int32)


def area_resize(
    frame: NDArray[np.uint8], width: int, height: int, box: Box | None = None, scale: int = 1
) -> NDArray[np.uint8]:
    """Shrink a part of an HxWx3 frame to height x width.

    Rows first, with seven fractional bits around 128 (each product rounded as `pmulhrsw` does), then columns exactly,
    rounding half up.

    Args:
        frame: uint8.
        width, height: of the result; no larger than the part in pixels of the frame.
        box: the part, by default everything; in pixels of a frame `scale` times as large.
        scale: 1, 2 or 4.
    """
    box = box or Box(0, 0, frame.shape[1] * scale, frame.shape[0] * scale)
    first, weights = area_weights(box.top, box.height, scale, height)
    last = frame.shape[0] - 1
    centered = (frame.astype(np.int32) - 128) << 8
    sums = sum(
        (mul(centered[np.minimum(first + t, last)], weights[:, t, None, None]) for t in range(weights.shape[1])),
        start=np.zeros((height, *frame.shape[1:]), np.int32),
    )
    first, weights = area_weights(box.left, box.width, scale, width)
    last = frame.shape[1] - 1
    total = sum(
        (sums[:, np.minimum(first + t, last)] * weights[None, :, t, None] for t in range(weights.shape[1])),
        start=np.zeros((height, width, frame.shape[2]), np.int32),
    )
    return ((total + (257 << 20)) >> 21).astype(np.uint8)
