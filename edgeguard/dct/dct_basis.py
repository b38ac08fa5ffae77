"""The DCT in float64: its basis, exact coefficients and their nearest indices, for whoever reasons about them."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: The orthonormal DCT-II matrix T: coefficients of a block B are T B T'.
DCT: Float = np.array(
    [[np.sqrt((1 if k == 0 else 2) / 8) * np.cos((2 * n + 1) * k * np.pi / 16) for n in range(8)] for k in range(8)]
)

#: A[u, v]: the largest change of coefficient (u, v) that changes of at most one level can make (8 for the DC).
GAIN: Float = np.outer(np.abs(DCT).sum(axis=1), np.abs(DCT).sum(axis=1))

#: Coefficients this close to half a step (as a fraction of the step) count as exact ties.
TIE_TOLERANCE = 1e-9


def coefficients(blocks: NDArray[np.uint8]) -> Float:
    """Exact DCT of the unshifted levels, shape (8, 8, ...)."""
    return np.einsum("ui,ij...,vj->uv...", DCT, blocks.astype(np.float64), DCT, optimize=True)


def quantize(exact: Float, steps: NDArray[np.int32]) -> Float:
    """Nearest multiple of the step as an index, ties (within 1e-9 of a step) away from zero."""
    return np.copysign(np.floor(np.abs(exact) / steps + 0.5 + TIE_TOLERANCE), exact)
