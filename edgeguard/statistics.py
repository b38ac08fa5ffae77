"""The little statistics that gates and guesses rest on."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927).

    Example:
        >>> tuple(round(bound, 3) for bound in wilson(9, 10))
        (0.596, 0.982)
    """
    if n == 0:
        return 0.0, 1.0
    p, z2 = successes / n, _Z95**2
    center = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * float(np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(center - half, 0.0), min(center + half, 1.0)


def is_chance(correct: int, n: int, classes: int) -> bool:
    """Whether so many right answers of n are what guessing among the classes gives.

    Example:
        >>> is_chance(30, 300, 10), is_chance(60, 300, 10), is_chance(0, 0, 10)
        (True, False, False)
    """
    chance = 1 / max(classes, 1)
    return n > 0 and classes > 1 and wilson(correct, n)[0] < chance and correct < 1.5 * chance * n


def paired_proportions(only_first: int, only_second: int, n: int) -> tuple[float, float, float]:
    """Difference of two proportions on the same n things, second less first, and its 95 % interval.

    Wald's interval after one pair of each unlike kind is added (Bonett and Price 2012, equation 3); the difference
    itself is as counted.

    Args:
        only_first, only_second: pairs of which only one member is a success.
        n: all pairs.

    Example:
        >>> tuple(round(value, 3) for value in paired_proportions(30, 10, 1000))
        (-0.02, -0.033, -0.007)
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    center = second - first
    half = _Z95 * float(np.sqrt((first + second - center**2) / (n + 2)))
    difference = (only_second - only_first) / n if n else 0.0
    return difference, max(center - half, -1.0), min(center + half, 1.0)


def snr_db(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Signal-to-noise ratio in dB over all values: 10 log10(sum ref^2 / sum (ref - other)^2)."""
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - other)))
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal > 0 else float("-inf")


def lowest_snr_db(reference: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]) -> float:
    """The lowest `snr_db` of several outputs."""
    return min(snr_db(a, b) for a, b in zip(reference, other, strict=True))


def mutual_information(probabilities: NDArray[np.float64]) -> float:
    """Mutual information between image and predicted label, in nats: marginal entropy minus mean conditional entropy.

    `probabilities` is (images, classes). A model that answers one class for everything scores 0 however sure it is.
    """
    return _entropy(probabilities.mean(axis=0)) - float(np.mean([_entropy(row) for row in probabilities]))


def bootstrap_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], float],
    rounds: int = 400,
) -> tuple[float, float]:
    """95 % percentile interval of `statistic(first) - statistic(second)`, resampling images in pairs (seed fixed)."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(rounds):
        chosen = rng.integers(0, len(first), len(first))
        differences.append(statistic(first[chosen]) - statistic(second[chosen]))
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_ratio(over: NDArray[np.float64], under: NDArray[np.float64], rounds: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of sum(over) / sum(under), resampling pairs (seed fixed); (0, 1) where all are 0."""
    if not under.sum():
        return 0.0, 1.0
    chosen = np.random.default_rng(0).integers(0, len(over), (rounds, len(over)))
    sums = under[chosen].sum(axis=1)
    low, high = np.percentile(over[chosen].sum(axis=1)[sums > 0] / sums[sums > 0], [2.5, 97.5])
    return float(low), float(high)


def _entropy(p: NDArray[np.float64]) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())
