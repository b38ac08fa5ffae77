"""Resizing by area in integers: the definition that the native kernel follows byte for byte.

An output pixel is the mean of the source pixels under it, partly covered ones by their share. `cv2.INTER_AREA` does the
same in floating point; the two agree within one level.
"""

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.integer import Int, mul

_ONE = 1 << 14  # weights are multiples of 2**-14 that add up to 1


def area_weights(size: int, out_size: int) -> tuple[NDArray[np.int64], Int]:
    """For each of `out_size` output pixels the first source pixel, and the weights (out_size, taps) times 2**14.

    Differences of rounded cumulative shares, so that they add up to exactly 2**14.

    Example:
        >>> area_weights(3, 2)[1].tolist()
        [[10923, 5461], [5461, 10923]]
    """
    start = np.arange(out_size, dtype=np.int64) * size
    first = start // out_size
    taps = int((-(-(start + size) // out_size) - first).max())
    edges = (first[:, None] + np.arange(taps + 1)) * out_size
    covered = np.clip(edges - start[:, None], 0, size)
    cumulative = (_ONE * covered + size // 2) // size
    return first, np.diff(cumulative, axis=1).astype(np.int32)


def area_resize(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Shrink an HxWx3 frame to height x width, neither larger than the frame's.

    Rows first, with seven fractional bits around 128 (each product rounded as `pmulhrsw` does), then columns exactly,
    rounding half up.
    """
    first, weights = area_weights(frame.shape[0], height)
    last = frame.shape[0] - 1
    centred = (frame.astype(np.int32) - 128) << 8
    sums = sum(
        (mul(centred[np.minimum(first + t, last)], weights[:, t, None, None]) for t in range(weights.shape[1])),
        start=np.zeros((height, *frame.shape[1:]), np.int32),
    )
    first, weights = area_weights(frame.shape[1], width)
    last = frame.shape[1] - 1
    total = sum(
        (sums[:, np.minimum(first + t, last)] * weights[None, :, t, None] for t in range(weights.shape[1])),
        start=np.zeros((height, width, frame.shape[2]), np.int32),
    )
    return ((total + (257 << 20)) >> 21).astype(np.uint8)
