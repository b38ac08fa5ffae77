"""Statistics over passes: frames of one pass are not independent, so the pass is the unit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054
#: Student's 97.5 % quantile for few degrees of freedom, where the expansion below is too coarse.
_FEW = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060}
_EXACT_UP_TO = 14
_ROUNDS = 9999


@dataclass(frozen=True)
class Difference:
    """The mean paired difference of a share over passes.

    Attributes:
        mean: first minus second, -1..1.
        low, high: 95 % interval (Student's t over passes, never beyond -1..1; Wilson-like limits where all
            differences are equal).
        p: two-sided paired permutation test; 1 where nothing differs.
        n: passes.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def shown(self) -> bool:
        """True where an effect was shown: the interval is clear of zero and p <= .05."""
        return self.p <= 0.05 and (self.low > 0 or self.high < 0)


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0) -> Difference | None:
    """Compare two conditions on the same passes; None without any.

    Args:
        first, second: shares 0..1 of each pass, in the same order.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n = len(differences)
    if n == 0:
        return None
    mean = float(differences.mean())
    reach = half_width(differences)
    return Difference(mean, max(mean - reach, -1.0), min(mean + reach, 1.0), permutation_p(differences, seed), n)


def half_width(differences: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of a mean.

    Shares of few frames often give no difference at all, and then no spread from which to judge: one made-up pass with
    a difference of +1 and one of -1 are added to the spread (not to the mean), as Agresti and Coull add two
    successes and two failures.
    """
    n = len(differences)
    if n == 1:
        return 1.0
    spread = float(((differences - differences.mean()) ** 2).sum())
    variance = (spread + 2.0 / (n + 2)) / (n - 1)
    return student_quantile(n - 1) * float(np.sqrt(variance / n))


def student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5)."""
    if degrees in _FEW:
        return _FEW[degrees]
    z, n = _Z, float(degrees)
    return float(
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def permutation_p(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided sign-flip test of a mean of zero: exact for few passes, else 9,999 random flips (add-one).

    Passes without a difference say nothing either way and are left out; their flips change nothing.
    """
    moved = differences[differences != 0]
    n = len(moved)
    if n == 0:
        return 1.0
    observed = abs(float(moved.sum())) - 1e-12
    if n <= _EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ moved) >= observed).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (_ROUNDS, n), dtype=np.int8) * 2 - 1
    extreme = int((np.abs(signs @ moved) >= observed).sum())
    return (extreme + 1) / (_ROUNDS + 1)
