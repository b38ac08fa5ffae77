"""What counts of noisy answers prove (Cohen, Rosenfeld and Kolter, ICML 2019): Clopper-Pearson's bound, and a radius.

Own code, because boards certify too and scipy is large; tests compare with scipy and statsmodels.
"""

import math
from statistics import NormalDist

from edgeguard.errors import InputError

_NORMAL = NormalDist()
_TINY = 1e-300
_HALVINGS = 100  # of an interval of floats


def lower_bound(successes: int, n: int, alpha: float) -> float:
    """Clopper-Pearson's one-sided lower bound of a probability: it is too high with probability `alpha` at most.

    Args:
        successes: of `n` draws.
        n: draws, 1 or more.
        alpha: above 0 and below 1.

    Returns:
        The alpha quantile of Beta(successes, n - successes + 1); 0 without a success.

    Example:
        >>> round(lower_bound(990, 1000, 0.001), 9)
        0.976036187
    """
    if successes == 0:
        return 0.0
    if successes == n:
        return alpha ** (1 / n)
    low, high = 0.0, successes / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _beta_share(middle, successes, n - successes + 1) < alpha:
            low = middle
        else:
            high = middle
    return low


def radius(lower: float, sigma: float) -> float | None:
    """The L2 radius that a lower bound of the class's probability proves, in sigma's unit; None: abstain.

    Example:
        >>> round(radius(0.976036187, 1.0), 6), radius(0.5, 1.0)
        (1.97801, None)
    """
    return sigma * _NORMAL.inv_cdf(lower) if 0.5 < lower < 1 else None


def largest_radius(draws: int, alpha: float, sigma: float) -> float:
    """The radius where all draws say the same: no image can have more; 0 where even that proves nothing."""
    return radius(lower_bound(draws, draws, alpha), sigma) or 0.0


def least_draws(alpha: float) -> int:
    """The fewest draws that can prove a radius above 0.

    Example:
        >>> least_draws(0.001)
        10
    """
    return math.floor(math.log(alpha) / math.log(0.5)) + 1


def check_numbers(sigma: float, draws: int, alpha: float, flags: tuple[str, str, str]) -> None:
    """Refuse what certifies nothing.

    Args:
        sigma: pixels 0..1.
        draws: that are counted.
        alpha: of one image.
        flags: what a user calls these three.

    Raises:
        InputError: sigma that is not in 0.001..4, alpha not in 1e-12..0.5, or too few draws.
    """
    if not 0.001 <= sigma <= 4:
        raise InputError(f"{flags[0]} wants a standard deviation from 0.001 to 4 (pixels 0..1), got {sigma:g}")
    if not 1e-12 <= alpha < 0.5:
        raise InputError(f"{flags[2]} wants a probability from 1e-12 to below 0.5, got {alpha:g}")
    least = least_draws(alpha)
    if draws < least:
        raise InputError(
            f"{flags[1]} {draws} can prove no radius at alpha {alpha:.3g}: {least} or more (1000 is usual)"
        )


def _beta_share(x: float, a: int, b: int) -> float:
    """The regularized incomplete beta function I_x(a, b): its continued fraction by Lentz's method."""
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side only
        return 1 - _beta_share(1 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _TINY)
    total = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or _TINY)
            c = 1 + term / c or _TINY
            total *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(front) * total / a
