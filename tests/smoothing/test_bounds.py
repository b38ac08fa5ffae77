import pytest

from edgeguard.errors import InputError
from edgeguard.smoothing.bounds import check_numbers, largest_radius, least_draws, lower_bound, radius

ALPHA = 0.001


@pytest.mark.parametrize(
    ("successes", "n", "bound", "sigmas"),
    [
        (990, 1000, 0.976036187, 1.978010),
        (1000, 1000, 0.993116048, 2.463263),
        (99000, 100000, 0.988989340, 2.290000),
        (100000, 100000, 0.999930925, 3.811457),
        (501, 1000, 0.451764377, None),
        (0, 1000, 0.0, None),
    ],
)
def test_known_bounds_and_radii(successes: int, n: int, bound: float, sigmas: float | None) -> None:
    found = lower_bound(successes, n, ALPHA)
    assert found == pytest.approx(bound, abs=6e-10)
    assert radius(found, 1.0) == (None if sigmas is None else pytest.approx(sigmas, abs=6e-7))


def test_the_bound_is_the_quantile_of_scipy_and_statsmodels() -> None:
    beta = pytest.importorskip("scipy.stats").beta
    interval = pytest.importorskip("statsmodels.stats.proportion").proportion_confint
    for n in (1, 2, 99, 1000, 100_000):
        for k in sorted({0, 1, n // 3, n // 2, (9 * n) // 10, n - 1, n}):
            for alpha in (0.25, 0.001):
                found = lower_bound(k, n, alpha)
                assert found == pytest.approx(beta.ppf(alpha, k, n - k + 1) if k else 0.0, abs=1e-9)
                assert found == pytest.approx(interval(k, n, 2 * alpha, "beta")[0], abs=1e-9)


def test_fewest_draws() -> None:
    assert least_draws(ALPHA) == 10
    assert largest_radius(10, ALPHA, 1.0) > 0 == largest_radius(9, ALPHA, 1.0)


@pytest.mark.parametrize(
    ("sigma", "draws", "alpha", "said"),
    [
        (0.0, 1000, ALPHA, "--smoothing wants"),
        (-0.25, 1000, ALPHA, "--smoothing wants"),
        (float("nan"), 1000, ALPHA, "--smoothing wants"),
        (0.25, 9, ALPHA, "--draws 9 can prove no radius at alpha 0.001: 10 or more"),
        (0.25, 1000, 0.5, "--alpha wants"),
    ],
)
def test_numbers_that_certify_nothing(sigma: float, draws: int, alpha: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_numbers(sigma, draws, alpha, ("--smoothing", "--draws", "--alpha"))
