"""Integer filters whose sums, from inputs as int8 has them, come closest to what float made of float inputs.

Two steps, both in closed form. Least squares move the weights towards what undoes the error that the inputs carry.
Then each weight is rounded in turn, and those that are not rounded yet are moved so that the sum of the errors stays
small (Frantar et al. 2022, "GPTQ", which is optimal brain surgeon with one order for all filters). A filter takes the
candidate that is best on pictures that the fit has not seen, the usual rounding among them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 127
#: How strongly the least squares are held back to the trained weights, in parts of the inputs' mean variance.
_PULLS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
_DAMPING = 0.01  # of the mean variance, so that the inverse exists
_BLOCK = 128  # columns that are rounded before the rest is moved
#: A candidate has to leave less than this share of the usual rounding's error: a few pictures are no proof.
_BETTER = 0.99

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Places of some pictures where a layer's filters were laid: g groups of filters, n places, k weights a filter.

    Attributes:
        inputs: as int8 has them, (g, n, k), float32.
        wanted: what float gave there before its activation, (g, n, r), float32; r filters a group.
        held_out: which places judge, (n,) of bool.
    """

    inputs: NDArray[np.float32]
    wanted: NDArray[np.float32]
    held_out: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Filters:
    """Filters of one layer in steps of int8: `levels * scales` are the weights, (g, r, k); scales and bias (g, r)."""

    levels: Floats
    scales: Floats
    bias: Floats


def fitted(exact: Floats, usual: Filters, samples: Samples, low: float, high: float) -> Filters:
    """The better filters of a layer, one by one; their scales are kept.

    Args:
        exact: trained weights, (g, r, k).
        usual: the layer as it was rounded.
        samples: of its inputs and wanted sums.
        low, high: the layer's activation clamps its sums to these.

    Example:
        >>> x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8, 1)
        >>> usual = Filters(np.full((1, 1, 1), 3.0), np.full((1, 1), 0.5), np.ones((1, 1)))
        >>> found = fitted(np.full((1, 1, 1), 2.0), usual, Samples(x, 2 * x, np.arange(8) % 2 == 0), -9, 9)
        >>> found.levels.item(), round(found.bias.item(), 6)
        (4.0, 0.0)
    """
    seen = ~samples.held_out
    x, y = samples.inputs[:, seen].astype(np.float64), samples.wanted[:, seen].astype(np.float64)
    x_mean, y_mean = x.mean(axis=1), y.mean(axis=1)
    judged_x, judged_y = samples.inputs[:, ~seen], np.clip(samples.wanted[:, ~seen], low, high)

    def error(levels: Floats, bias: Floats) -> Floats:
        weights = (levels * usual.scales[..., None]).astype(np.float32)
        said = np.clip(judged_x @ weights.swapaxes(1, 2) + bias[:, None].astype(np.float32), low, high)
        return np.asarray(((said - judged_y) ** 2).mean(axis=1), np.float64)

    levels, bias = usual.levels.copy(), usual.bias.copy()
    least = _BETTER * error(levels, bias)
    for candidate in _candidates(exact, usual, x - x_mean[:, None], y - y_mean[:, None]):
        centered = y_mean - np.einsum("grk,gk->gr", candidate * usual.scales[..., None], x_mean)
        found = error(candidate, centered)
        better = found < least
        levels[better], bias[better], least[better] = candidate[better], centered[better], found[better]
    return Filters(levels, usual.scales, bias)


def _candidates(exact: Floats, usual: Filters, x: Floats, y: Floats) -> Iterator[Floats]:
    """Levels (g, r, k): the usual ones, the trained weights rounded in turn, the moved ones rounded in turn."""
    yield usual.levels
    places, width = x.shape[1:]
    spread = x.swapaxes(1, 2) @ x / places  # (g, k, k)
    variance = np.einsum("gkk->gk", spread)
    size = variance.mean(axis=1)[:, None, None]
    eye = np.eye(width)
    # The weights of the strongest inputs first, while there are many left that can make up for them.
    order = np.argsort(-variance, axis=1, kind="stable")
    back = np.argsort(order, axis=1)[:, None]
    ordered = np.take_along_axis(np.take_along_axis(spread, order[:, :, None], axis=1), order[:, None], axis=2)
    damped = ordered + (_DAMPING * size + 1e-12) * eye
    factor = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)

    def rounded(weights: Floats) -> Floats:
        levels = rounded_in_turn(np.take_along_axis(weights, order[:, None], axis=2), usual.scales, factor)
        return np.take_along_axis(levels, back, axis=2)

    yield rounded(exact)
    if places < 2 * width:  # the fit would be one of the noise
        return
    asked = y.swapaxes(1, 2) @ x / places  # (g, r, k)
    for pull in _PULLS:
        held = pull * size + 1e-12
        moved = np.linalg.solve(spread + held * eye, (asked + held * exact).swapaxes(1, 2)).swapaxes(1, 2)
        yield rounded(moved)


def rounded_in_turn(weights: Floats, scales: Floats, factor: Floats) -> Floats:
    """Levels (g, r, k) of weights, each rounded after its share of the errors before it was added.

    Args:
        weights: (g, r, k).
        scales: of each filter, (g, r).
        factor: upper triangular, (g, k, k); `factor.T @ factor` is the inverse of the inputs' covariance.
    """
    left, levels = weights / scales[..., None], np.empty_like(weights)
    width = left.shape[2]
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        errors = np.empty((*left.shape[:2], end - start))
        for column in range(start, end):
            levels[..., column] = np.clip(np.round(left[..., column]), -LARGEST, LARGEST)
            error = (left[..., column] - levels[..., column]) / factor[:, None, column, column]
            left[..., column + 1 : end] -= error[..., None] * factor[:, None, column, column + 1 : end]
            errors[..., column - start] = error
        left[..., end:] -= errors @ factor[:, start:end, end:]
    return levels
