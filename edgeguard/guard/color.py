"""Grey levels as libjpeg makes them."""

import numpy as np
from numpy.typing import NDArray


def rgb_to_gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma in libjpeg's 16-bit fixed point (jccolor.c's rule): HxWx3 to HxW.

    The weights add up to exactly 1, so a change of at most n levels in each channel moves the result by at most n.
    """
    weighted = rgb.astype(np.int32) @ np.array([19595, 38470, 7471], dtype=np.int32)
    return ((weighted + 32768) >> 16).astype(np.uint8)
