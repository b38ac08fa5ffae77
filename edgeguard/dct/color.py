"""Colour and chroma sampling in integers, as libjpeg makes them; part of the definition of sanitising.

The native kernel follows these rules byte for byte. `mul` is `pmulhrsw` / `sqrdmulh`: `(a * c + 2**14) >> 15`.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.integer_dct import Int, mul

Plane = NDArray[np.uint8]
Color = Literal["rgb", "ycbcr444", "ycbcr422", "ycbcr420", "gray"]

#: Pixels under one chroma sample: rows, columns.
SAMPLING = {"ycbcr444": (1, 1), "ycbcr422": (1, 2), "ycbcr420": (2, 2)}


def rgb_to_gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma in libjpeg's 16-bit fixed point (jccolor.c's rule): HxWx3 to HxW.

    The weights add up to exactly 1, so a change of at most n levels in each channel moves the result by at most n.
    """
    weighted = rgb.astype(np.int32) @ np.array([19595, 38470, 7471], dtype=np.int32)
    return ((weighted + 32768) >> 16).astype(np.uint8)


def rgb_to_chroma(rgb: NDArray[np.uint8], rows: int, columns: int) -> tuple[Plane, Plane]:
    """Cb and Cr of the mean colour of each `rows` x `columns` pixels; both sides must be multiples of them.

    libjpeg's 16-bit fixed point (jccolor.c) on the sum of the pixels. libjpeg itself rounds each pixel's chroma to 8
    bits before it averages; here only the mean is rounded.
    """
    height, width, _ = rgb.shape
    blocks = rgb.reshape(height // rows, rows, width // columns, columns, 3)
    total = blocks.sum(axis=(1, 3), dtype=np.int32)
    red, green, blue = np.moveaxis(total, -1, 0)
    shift = 16 + (rows * columns).bit_length() - 1
    bias = (128 << shift) + (1 << (shift - 1)) - 1
    cb = (32768 * blue - 11059 * red - 21709 * green + bias) >> shift
    cr = (32768 * red - 27439 * green - 5329 * blue + bias) >> shift
    return cb.astype(np.uint8), cr.astype(np.uint8)


def upsample(plane: Plane, rows: int, columns: int, height: int, width: int) -> Plane:
    """Chroma to full size with libjpeg's triangle filter (jdsample.c), the ends repeated; cut to height x width."""
    if columns == 1:
        return plane[:height, :width]
    sums = plane.astype(np.int32)
    if rows == 2:
        above, below = np.vstack([sums[:1], sums[:-1]]), np.vstack([sums[1:], sums[-1:]])
        sums = np.stack([3 * sums + above, 3 * sums + below], axis=1).reshape(-1, plane.shape[1])
    left, right = np.hstack([sums[:, :1], sums[:, :-1]]), np.hstack([sums[:, 1:], sums[:, -1:]])
    even, odd = (3 * sums + left + 8) >> 4, (3 * sums + right + 7) >> 4
    if rows == 1:
        even, odd = (3 * sums + left + 1) >> 2, (3 * sums + right + 2) >> 2
    wide = np.stack([even, odd], axis=2).reshape(sums.shape[0], -1)
    return wide[:height, :width].astype(np.uint8)


def ycbcr_to_rgb(y: Plane, cb: Plane, cr: Plane) -> NDArray[np.uint8]:
    """JFIF's conversion; red and blue are libjpeg's, green is within one level of it."""
    light, u, v = y.astype(np.int32), cb.astype(np.int32) - 128, cr.astype(np.int32) - 128
    mixed = mul(u << 7, 11277) + mul(v << 7, 23401)
    red, blue = light + v + mul(v, 13173), light + u + mul(u, 25297)
    return np.stack([_level(red), _level(light + ((64 - mixed) >> 7)), _level(blue)], axis=2)


def _level(values: Int) -> NDArray[np.uint8]:
    return np.clip(values, 0, 255).astype(np.uint8)
