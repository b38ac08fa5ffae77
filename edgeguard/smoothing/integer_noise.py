"""Gaussian noise on pixels of whole levels, drawn as whole numbers from the exact discretized normal.

For a level k, round(k + noise) = k + round(noise). So what adds noise, rounds, clips and asks a model needs no fraction
anywhere, and a certificate of it cannot be unsound by floating point (Voracek and Hein, ICLR 2023).
"""

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Noise beyond this clips every level, so that what is beyond counts as this.
_LARGEST = 255
_COLUMN_BITS = 9
_COLUMNS = 1 << _COLUMN_BITS  # of the alias table, one more than the 511 values
_COLUMN = 1 << (64 - _COLUMN_BITS)  # weight of a column
_DIGITS = 60
_BEYOND = 16  # sigmas: the tail is below 1e-56


class IntegerNoise:
    """Draws round(noise) for Gaussian noise.

    A draw is one 64-bit number through Walker's alias table of exact integers: no draw depends on a machine's floating
    point. The weights differ from the normal's probabilities by 2**-64 (in that of 0 by 510 times as much at most).

    Args:
        sigma: standard deviation, pixels 0..1; above 0.

    Example:
        >>> IntegerNoise(0.25)(5, np.random.default_rng(0)).dtype
        dtype('int16')
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma
        self._limits, self._alias = _alias_table(sigma)

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """`count` independent whole levels, -255..255; what is beyond counts as the end."""
        drawn = rng.integers(0, 1 << 64, count, dtype=np.uint64)
        column = (drawn & np.uint64(_COLUMNS - 1)).astype(np.int16)
        own = drawn >> np.uint64(_COLUMN_BITS) < self._limits[column]
        return np.where(own, column, self._alias[column]) - np.int16(_LARGEST)

    def on(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """An image, uint8 of any shape, with noise on every value, rounded and clipped."""
        noise = self(image.size, rng).reshape(image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)


def weights(sigma: float) -> list[int]:
    """The weights of -255..255, whole numbers with the sum 2**64; the ends hold the tails."""
    tails = [_upper_tail(sigma, level) for level in range(_LARGEST + 1)]  # above level - 1/2
    positive = [tails[j] - tails[j + 1] for j in range(1, _LARGEST)] + [tails[_LARGEST]]
    whole = [int(share * (1 << 64)) for share in positive]
    return [*reversed(whole), (1 << 64) - 2 * sum(whole), *whole]


def _upper_tail(sigma: float, level: int) -> Decimal:
    """The probability that Gaussian noise is above level - 1/2 levels, to 50 digits or more; 1/2 for level 0.

    erf by its series of positive terms: 2 / sqrt(pi) exp(-z**2) sum 2**n z**(2n+1) / (1 3 5 ... (2n+1)).
    """
    with localcontext() as context:
        context.prec = _DIGITS
        if level == 0:
            return Decimal("0.5")
        x = (Decimal(level) - Decimal("0.5")) / (255 * Decimal(sigma))
        if x > _BEYOND:
            return Decimal(0)
        term, total, odd = x, Decimal(0), 1
        while term > total * Decimal(10) ** -_DIGITS:
            total += term
            odd += 2
            term = term * x * x / odd
        # Phi(x) - 1/2 = exp(-x**2 / 2) / sqrt(2 pi) * sum x**(2n+1) / (1 3 5 ... (2n+1))
        return Decimal("0.5") - (-x * x / 2).exp() * total / (2 * _pi()).sqrt()


@lru_cache(maxsize=1)
def _pi() -> Decimal:
    """Machin's formula."""
    with localcontext() as context:
        context.prec = _DIGITS + 5

        def arctangent_of_inverse(n: int) -> Decimal:
            power, total, odd, sign = Decimal(1) / n, Decimal(0), 1, 1
            while power / odd > Decimal(10) ** -(_DIGITS + 5):
                total += sign * power / odd
                power, odd, sign = power / (n * n), odd + 2, -sign
            return total

        return 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))


@lru_cache(maxsize=8)
def _alias_table(sigma: float) -> tuple[NDArray[np.uint64], NDArray[np.int16]]:
    """Vose's construction of Walker's alias table: a column keeps its own value below its limit, else gives another's.

    Returns:
        Limits, uint64, and the other values as columns, int16.
    """
    left = [*weights(sigma), 0]
    limits, alias = [_COLUMN] * _COLUMNS, list(range(_COLUMNS))
    small = [i for i, weight in enumerate(left) if weight < _COLUMN]
    large = [i for i, weight in enumerate(left) if weight > _COLUMN]
    while small:
        i, j = small.pop(), large[-1]
        limits[i], alias[i] = left[i], j
        left[j] -= _COLUMN - left[i]
        if left[j] <= _COLUMN:
            large.pop()
            if left[j] < _COLUMN:
                small.append(j)
    return np.array(limits, np.uint64), np.array(alias, np.int16)
