"""Quantisation tables: 64 steps in natural (row-major) order, 1..255 each (baseline JPEG's range)."""

import numpy as np
from numpy.typing import NDArray

Table = tuple[int, ...]

#: ITU-T T.81 Annex K, table K.1 (luminance), natural order.
ANNEX_K_LUMA: Table = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip

#: ITU-T T.81 Annex K, table K.2 (chrominance), natural order.
ANNEX_K_CHROMA: Table = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *([99] * 32),
)  # fmt: skip

#: ZIGZAG[i] is the natural (row-major) position of the i-th coefficient in zigzag order (T.81, figure A.6).
ZIGZAG: Table = tuple(
    8 * u + v
    for u, v in sorted(
        ((u, v) for u in range(8) for v in range(8)),
        key=lambda uv: (uv[0] + uv[1], uv[0] if (uv[0] + uv[1]) % 2 else uv[1]),
    )
)


def ijg_scaled(base: Table, quality: int, largest: int = 255) -> Table:
    """Scale an Annex K table to an IJG quality 1..100 (libjpeg's `jpeg_quality_scaling`, force_baseline).

    Without force_baseline, as cjpeg does, the `largest` step is 32767 and the table has 16 bits a step.

    Example:
        >>> ijg_scaled(ANNEX_K_LUMA, 50) == ANNEX_K_LUMA
        True
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality must be 1..100, got {quality}")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((step * percent + 50) // 100, 1), largest) for step in base)


def ijg_qualities(table: Table, base: Table) -> set[int]:
    """The IJG qualities that make this table of an Annex K table; the lowest ones share a chroma table.

    Example:
        >>> ijg_qualities(ijg_scaled(ANNEX_K_LUMA, 75), ANNEX_K_LUMA), ijg_qualities((255,) * 64, ANNEX_K_CHROMA)
        ({75}, {1, 2, 3})
    """
    largest = 255 if max(table) <= 255 else 32767
    return {quality for quality in range(1, 101) if ijg_scaled(base, quality, largest) == table}


def corner_table(as_step: int, md_step: int, corner: int = 4) -> Table:
    """Feature Distillation's table with the accuracy-sensitive band as the low `corner` x `corner` coefficients.

    The paper (Liu et al., CVPR 2019, section 4.2) ranks bands by sigma; its public code uses the 4x4 corner,
    which measured as well.
    """
    return tuple(as_step if u < corner and v < corner else md_step for u in range(8) for v in range(8))


def to_zigzag(table: Table) -> Table:
    """Natural order to zigzag, as a DQT segment wants it."""
    return tuple(table[position] for position in ZIGZAG)


def from_zigzag(steps: Table) -> Table:
    """Zigzag (a DQT segment) to natural order."""
    natural = [0] * 64
    for step, position in zip(steps, ZIGZAG, strict=True):
        natural[position] = step
    return tuple(natural)


def as_array(table: Table) -> NDArray[np.int32]:
    """A table as an 8x8 int32 array: row u is the vertical frequency, column v the horizontal one."""
    return np.array(table, dtype=np.int32).reshape(8, 8)
