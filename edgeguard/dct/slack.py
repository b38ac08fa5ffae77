"""How far the quantiser's own numbers may lie from a multiple of the step while a change of pixels alters no index.

With changes of at most eps levels the integer DCT's coefficient k moves by at most A_k eps + d_k, where d_k is what
its roundings may add. Pass 2 finds the same index while |residual| + A_k eps + d_k < QS_k / 2.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import GAIN
from edgeguard.dct.integer_dct import COEFFICIENT_SCALE, rounding_error_bound
from edgeguard.jpeg.tables import Table, as_array

#: Of A_k eps in float64 and in the rounded constants of the integer DCT: below 0.001 for changes of up to 4 levels. The
#: rest makes a margin that is measured as a whole number of levels one beyond it.
_LINEAR_ERROR = 1 / 256


def change_bound() -> NDArray[np.float64]:
    """d_k, (8, 8): the most that two roundings of the integer DCT differ by, in coefficient units."""
    return 2 * rounding_error_bound() + _LINEAR_ERROR


def limits(steps: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """The largest residuals that changes of so many levels cannot carry over a boundary.

    Args:
        steps: (8, 8).
        levels: the largest change of a pixel.

    Returns:
        (8, 8), in units of 1/32 coefficient, as `forward_dct` has it; negative where no residual will do.
    """
    free = COEFFICIENT_SCALE * (steps / 2 - GAIN * levels - change_bound())
    return np.asarray(np.ceil(free) - 1, np.int32)


#: Units of the margins that the kernel measures: 1/256 level.
MARGIN_UNIT = 256


def margin_loss() -> NDArray[np.int32]:
    """d_k in 1/32 coefficient, rounded up, (8, 8): taken off the quantiser's distance to its boundary."""
    return np.asarray(np.ceil(COEFFICIENT_SCALE * change_bound()), np.int32)


def margin_gain() -> NDArray[np.int32]:
    """1 / A_k times 2**16, rounded down, (8, 8)."""
    return np.asarray(np.floor(2**16 / GAIN - 1e-6), np.int32)


def quantizer_margins(coefficients: NDArray[np.int32], steps: NDArray[np.int32]) -> NDArray[np.int32]:
    """The margin of each block by the quantiser's own numbers, in 1/256 level, rounded down; the kernel's definition.

    Changes of a pixel by at most so many levels alter none of the block's indices. It is a few hundredths of a level
    below what exact coefficients prove (`guard.certificate`).

    Args:
        coefficients: `forward_dct`'s, (8, 8, ...).
        steps: (8, 8), broadcasting against them.

    Returns:
        int32, the shape of the coefficients without its first two axes.
    """
    trailing = (1,) * (coefficients.ndim - 2)
    loss, gain = (array.reshape(8, 8, *trailing) for array in (margin_loss(), margin_gain()))
    over = ((np.abs(coefficients) + 16 * steps) >> 1) % (16 * steps)
    free = np.maximum(2 * np.minimum(over, 16 * steps - 1 - over) - loss, 0)
    return np.asarray(((free << 3) * gain >> 16).min(axis=(0, 1)))


def smallest_steps(levels: int, slack: float) -> Table:
    """The smallest steps that leave every coefficient a residual of `slack`, natural order; the DC's a multiple of 8.

    A DC step that is a multiple of 8 keeps flat blocks on the grid, without a residual.

    Args:
        levels: changes in transit, 1 or more.
        slack: what the rounding of pass 1 to whole levels may leave, in coefficient units.

    Raises:
        ValueError: a step would be larger than 255.

    Example:
        >>> smallest_steps(1, 1.2)[:5]
        (24, 18, 18, 18, 19)
    """
    steps = np.ceil(2 * (GAIN * levels + change_bound() + slack) - 1e-9).astype(int)
    steps[0, 0] = 8 * ceil(steps[0, 0] / 8)
    if steps.max() > 255:
        raise ValueError(f"steps for {levels} levels would be larger than 255")
    return tuple(int(step) for step in steps.ravel())


def provable(table: Table, levels: int) -> bool:
    """Whether blocks can be proven at all with these steps."""
    return bool((limits(as_array(table), levels) >= 0).all())
