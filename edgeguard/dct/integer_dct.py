"""The integer definition of sanitising: an 8x8 DCT, quantiser and inverse in 16-bit fixed point.

Every other implementation must give the same bytes as this file. Each operation is one that SSE, AVX2 and NEON
have as a single 16-bit instruction:

- `mul(a, c)` is `pmulhrsw` / `sqrdmulh`: `(a * c + 2**14) >> 15`, rounding half up;
- sums wrap modulo 2**16 in those instructions; no final value leaves int16 (`tests/dct/test_integer_dct.py`
  drives the extremes), so int32 arrays here give the same results;
- the quantiser divides exactly, half away from zero; with 16-bit lanes it is a multiplication by a reciprocal.

Scales. One 1-D pass multiplies by sqrt(2) relative to the orthonormal DCT. Pixels enter as 16 (x - 128), so two
passes give 32 times the coefficient, with 5 fractional bits. Dequantised coefficients enter the inverse times 16 and
leave as 32 times the pixel. Outputs 0 and 4 need sums and halvings only, which makes the DC exact: a flat block
keeps its level whenever 8 levels are a multiple of the DC step.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int32]

#: 2**15 * sqrt(1/2) * cos(k pi / 16): half of the weights of the sqrt(2)-scaled orthonormal DCT.
COS: tuple[int, ...] = tuple(round(2**15 * 0.5**0.5 * float(np.cos(k * np.pi / 16))) for k in range(8))
COEFFICIENT_SCALE = 32
_DC_SHIFT = 128 * 8  # the DC coefficient of a flat block of 128


def forward_dct(blocks: NDArray[np.uint8], level_shifted: bool = False) -> Int:
    """32 times the orthonormal 8x8 DCT, rounded as the kernel rounds.

    Args:
        blocks: uint8, shape (8, 8, ...): row, column, then anything (blocks, channels).
        level_shifted: of the levels minus 128, as JPEG has it, instead of the levels.

    Returns:
        int32, the same shape: [u, v] is the coefficient of vertical frequency u and horizontal frequency v.
    """
    centered = (blocks.astype(np.int32) - 128) << 4
    coefficients = np.stack(_forward_1d(np.stack(_forward_1d(centered)).swapaxes(0, 1))).swapaxes(0, 1)
    if not level_shifted:
        coefficients[0, 0] += _DC_SHIFT * COEFFICIENT_SCALE
    return coefficients


def quantize(coefficients: Int, steps: Int) -> Int:
    """Quantization indices of `forward_dct`'s output: nearest multiple of the step, half away from zero.

    `steps` is 8x8 with trailing axes that broadcast against the coefficients.
    """
    magnitude = (np.abs(coefficients) + steps * (COEFFICIENT_SCALE // 2)) // (steps * COEFFICIENT_SCALE)
    return np.where(coefficients < 0, -magnitude, magnitude).astype(np.int32, copy=False)


def with_room(coefficients: Int, room: int) -> Int:
    """`forward_dct`'s output (of unshifted levels) as if its levels 0..255 had been mapped to room..255 - room."""
    if room == 0:
        return coefficients
    mapped = coefficients.copy()
    mapped[0, 0] -= _DC_SHIFT * COEFFICIENT_SCALE
    mapped = mul(mapped, round(2**15 * (255 - 2 * room) / 255))
    mapped[0, 0] += _DC_SHIFT * COEFFICIENT_SCALE - round(256 * room / 255)  # 128 goes to 128 - room / 255
    return mapped


def inverse_dct(indices: Int, steps: Int, level_shifted: bool = False, room: int = 0) -> NDArray[np.uint8]:
    """Pixels of the quantised block: dequantise, inverse DCT, round half up, clamp to 0..255.

    With `room` its levels room..255 - room become 0..255, in the same rounding.
    """
    levels = indices * steps
    if not level_shifted:
        levels[0, 0] -= _DC_SHIFT
    # Horizontal frequencies first: a kernel that holds rows in vectors then needs two transpositions, not four.
    horizontal = np.stack(_inverse_1d((levels << 4).swapaxes(0, 1))).swapaxes(0, 1)
    pixels = np.stack(_inverse_1d(horizontal))
    if room:
        levels = mul(pixels + 32 * (128 - room), round(2**10 * 255 / (255 - 2 * room)))
    else:
        levels = (pixels + (128 * 32 + 16)) >> 5
    return np.clip(levels, 0, 255).astype(np.uint8)


def sanitize_blocks(blocks: NDArray[np.uint8], steps: Int, level_shifted: bool = False) -> NDArray[np.uint8]:
    """Sanitise 8x8 blocks (shape (8, 8, ...)) with broadcastable steps."""
    return inverse_dct(quantize(forward_dct(blocks, level_shifted), steps), steps, level_shifted)


def coefficient_error_bound() -> NDArray[np.float64]:
    """The largest possible |forward_dct/32 - exact DCT| of each coefficient, shape (8, 8), in coefficient units.

    Derivation. Each `mul` adds at most half a unit of its output. Outputs 0 and 4 make two halvings of at most half a
    unit each (none in the first pass, where all values are multiples of 16); outputs 2 and 6 make two products, the odd
    ones four. The second pass carries the errors of the first through its weights. What the rounded constants add is
    linear: the sum of the absolute differences of both bases, times the largest centered level, 128.
    """
    rounded, exact = _weights(COS), _weights(tuple(_exact_cosine(k) for k in range(8)))
    difference = np.einsum("ui,vj->uvij", rounded, rounded) - np.einsum("ui,vj->uvij", exact, exact)
    return np.asarray(rounding_error_bound() + 128 / 2 * np.abs(difference).sum(axis=(2, 3)))


def rounding_error_bound() -> NDArray[np.float64]:
    """The part of `coefficient_error_bound` that is not linear: what rounding may add."""
    products = np.array([0, 4, 2, 4, 0, 4, 2, 4])
    halvings_second = np.array([2, 0, 0, 0, 2, 0, 0, 0])
    carried = np.abs(_weights(COS)).sum(axis=1)
    return (np.outer(products / 2, carried) + (products + halvings_second)[None, :] / 2) / COEFFICIENT_SCALE


def _exact_cosine(k: int) -> float:
    return 2**15 * 0.5**0.5 * float(np.cos(k * np.pi / 16))


def _weights(cosines: Sequence[float]) -> NDArray[np.float64]:
    """The matrix of one 1-D pass, sqrt(2) times the orthonormal DCT, with these half weights times 2**15."""
    signed = np.array([[_folded(cosines, (2 * n + 1) * k) for n in range(8)] for k in range(8)]) / 2**15
    signed[0] = 0.5
    signed[4] = np.sign(signed[4]) / 2
    return signed


def _folded(cosines: Sequence[float], angle: int) -> float:
    """sqrt(1/2) cos(angle pi / 16) times 2**15 by its equal in the first quarter of the circle."""
    angle %= 32
    angle = min(angle, 32 - angle)
    return -cosines[16 - angle] if angle > 8 else cosines[angle] if angle < 8 else 0.0


def mul(value: Int, constant: int | Int) -> Int:
    """`(value * constant + 2**14) >> 15`, the instructions `pmulhrsw` and `sqrdmulh`; |product| < 2**31 - 2**14."""
    product = np.asarray(value * np.asarray(constant, np.int32))
    product += 1 << 14
    product >>= 15
    return product


def _half(value: Int) -> Int:
    return (value + 1) >> 1


def _forward_1d(x: Int | Sequence[Int]) -> list[Int]:
    s0, s1, s2, s3 = x[0] + x[7], x[1] + x[6], x[2] + x[5], x[3] + x[4]
    d0, d1, d2, d3 = x[0] - x[7], x[1] - x[6], x[2] - x[5], x[3] - x[4]
    t0, t1 = _half(s0 + s3), _half(s1 + s2)
    u0, u1 = s0 - s3, s1 - s2
    _, c1, c2, c3, _, c5, c6, c7 = COS
    return [
        t0 + t1,
        mul(d0, c1) + mul(d1, c3) + mul(d2, c5) + mul(d3, c7),
        mul(u0, c2) + mul(u1, c6),
        mul(d0, c3) - mul(d1, c7) - mul(d2, c1) - mul(d3, c5),
        t0 - t1,
        mul(d0, c5) - mul(d1, c1) + mul(d2, c7) + mul(d3, c3),
        mul(u0, c6) - mul(u1, c2),
        mul(d0, c7) - mul(d1, c5) + mul(d2, c3) - mul(d3, c1),
    ]


def _inverse_1d(y: Int | Sequence[Int]) -> list[Int]:
    _, c1, c2, c3, _, c5, c6, c7 = COS
    a0, a1 = _half(y[0] + y[4]), _half(y[0] - y[4])
    b0, b1 = mul(y[2], c2) + mul(y[6], c6), mul(y[2], c6) - mul(y[6], c2)
    e0, e1, e2, e3 = a0 + b0, a1 + b1, a1 - b1, a0 - b0
    o0 = mul(y[1], c1) + mul(y[3], c3) + mul(y[5], c5) + mul(y[7], c7)
    o1 = mul(y[1], c3) - mul(y[3], c7) - mul(y[5], c1) - mul(y[7], c5)
    o2 = mul(y[1], c5) - mul(y[3], c1) + mul(y[5], c7) + mul(y[7], c3)
    o3 = mul(y[1], c7) - mul(y[3], c5) + mul(y[5], c3) - mul(y[7], c1)
    return [e0 + o0, e1 + o1, e2 + o2, e3 + o3, e3 - o3, e2 - o2, e1 - o1, e0 - o0]
