"""Comparing two evaluations cell by cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeguard.errors import InputError
from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import paired_proportions

_MOST_EXACT = 2000  # images that differ


@dataclass(frozen=True)
class Difference:
    """The same cell of two evaluations: B less A.

    Attributes:
        low, high: 95 % interval of the difference: of pairs, where both saw the same images (Bonett and Price 2012),
            else Newcombe's (Newcombe 1998, method 10).
        p_paired: exact McNemar test, where both saw the same images; else None.
    """

    a: Cell
    b: Cell
    difference: float
    low: float
    high: float
    p_paired: float | None


def compare(a: Sequence[Cell], b: Sequence[Cell]) -> list[Difference]:
    """All cells that both evaluations have, in the order of the first.

    Raises:
        InputError: they have none in common.
    """
    others = {_key(cell): cell for cell in b}
    pairs = [(cell, others[_key(cell)]) for cell in a if _key(cell) in others]
    if not pairs:
        raise InputError("the two evaluations have no cell in common: were they run with the same protocol?")
    return [_difference(first, second) for first, second in pairs]


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value for paired proportions: a binomial test of the pairs that differ.

    Example:
        >>> round(mcnemar_exact(1, 9), 4)
        0.0215
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    if n > _MOST_EXACT:
        return min(1.0, 2 * _lower_tail(fewer, n))
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail)


def _lower_tail(k: int, n: int) -> float:
    """The probability of at most k heads in n throws, 2 k <= n, without numbers of n digits, which take minutes."""
    total, whole = 0.0, math.lgamma(n + 1) - n * math.log(2)
    for heads in range(k, -1, -1):
        term = math.exp(whole - math.lgamma(heads + 1) - math.lgamma(n - heads + 1))
        total += term
        if term <= 1e-17 * total:  # those below are smaller still
            break
    return total


def _difference(a: Cell, b: Cell) -> Difference:
    if a.images and a.images == b.images and a.attack != "clean":
        kept_a, kept_b = set(a.correct_images), set(b.correct_images)
        only_a, only_b = len(kept_a - kept_b), len(kept_b - kept_a)
        return Difference(a, b, *paired_proportions(only_a, only_b, a.n), mcnemar_exact(only_a, only_b))
    (low_a, high_a), (low_b, high_b) = a.interval, b.interval
    difference = b.accuracy - a.accuracy
    below = math.hypot(b.accuracy - low_b, high_a - a.accuracy)
    above = math.hypot(high_b - b.accuracy, a.accuracy - low_a)
    return Difference(a, b, difference, difference - below, difference + above, None)


def _key(cell: Cell) -> tuple[str, str, str, float | None, str]:
    return cell.protocol, cell.threat, cell.attack, cell.eps_8bit, cell.defence
