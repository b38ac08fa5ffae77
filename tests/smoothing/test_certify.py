from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.integer_noise import IntegerNoise

SIGMA = 0.1


class _Linear:
    """Class 1 where the mean of all values is at most a limit: the distance of an image to the border is known."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, pixels: NDArray[np.uint8]) -> int:
        return int(pixels.mean(dtype=np.float64) <= self.limit)


@pytest.mark.parametrize(
    ("trials", "most"), [(50, 5), pytest.param(1000, 24, marks=pytest.mark.full, id="1000 trials, full")]
)
def test_radii_stay_below_the_distance_to_the_border(trials: int, most: int) -> None:
    """Certificates at alpha 1 %: of 1,000 about 10 may be too large; that more than 24 are has a chance of 3e-5."""
    image, noise = np.full((4, 4, 3), 128, np.uint8), IntegerNoise(SIGMA)
    plan = SmoothingPlan(SIGMA, draws=100, choosing=10, alpha=0.01)
    distance = 4.0  # levels between the mean and the border
    # The mean of n noises has a standard deviation of sigma / sqrt(n): the true L2 distance is distance * sqrt(n).
    true = distance * image.size**0.5 / 255
    too_large, certified = 0, 0
    for trial in range(trials):
        found = certify(_Linear(128 + distance), image, noise, plan, np.random.default_rng(trial))
        certified += found.prediction == 1
        too_large += found.radius is not None and found.radius > true
    assert certified > 0.8 * trials and too_large <= most


def test_the_count_is_the_probability_of_the_class() -> None:
    image, noise = np.full((8, 8, 3), 100, np.uint8), IntegerNoise(SIGMA)
    plan = SmoothingPlan(SIGMA, draws=4000)
    found = certify(_Linear(102.0), image, noise, plan, np.random.default_rng(0))
    wanted = NormalDist(0, 255 * SIGMA / image.size**0.5).cdf(2.0)
    assert abs(found.count / found.draws - wanted) < 0.03


def test_it_abstains_where_no_class_has_half() -> None:
    image, noise = np.full((4, 4, 3), 128, np.uint8), IntegerNoise(SIGMA)
    found = certify(_Linear(128.0), image, noise, SmoothingPlan(SIGMA, draws=200), np.random.default_rng(0))
    assert found.prediction is None and found.radius is None and sum(found.votes.values()) == 200


def test_time_ends_the_draws_and_the_radius_counts_those_made() -> None:
    image, noise = np.zeros((4, 4, 3), np.uint8), IntegerNoise(SIGMA)
    left = iter([True] * 50 + [False])
    found = certify(
        _Linear(255.0), image, noise, SmoothingPlan(SIGMA, 1000), np.random.default_rng(0), goes_on=lambda: next(left)
    )
    assert (found.draws, found.count) == (50, 50)
    full = certify(_Linear(255.0), image, noise, SmoothingPlan(SIGMA, 1000), np.random.default_rng(0))
    assert found.radius is not None and full.radius is not None and found.radius < full.radius
    none = certify(
        _Linear(255.0), image, noise, SmoothingPlan(SIGMA, 1000), np.random.default_rng(0), goes_on=lambda: False
    )
    assert none.prediction is None and none.draws == 0


def test_the_same_seed_gives_the_same_answer() -> None:
    image, noise = np.full((4, 4, 3), 127, np.uint8), IntegerNoise(SIGMA)
    plan = SmoothingPlan(SIGMA, draws=100)
    first, second = (certify(_Linear(128.0), image, noise, plan, np.random.default_rng(7)) for _ in range(2))
    assert first == second
