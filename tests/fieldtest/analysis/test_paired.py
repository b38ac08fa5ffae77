import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeguard.fieldtest.analysis.paired import half_width, paired_difference, permutation_p, student_quantile

SHARES = st.lists(st.sampled_from([-1.0, -0.6, -0.2, 0.0, 0.2, 0.6, 1.0]), min_size=1, max_size=40)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 20, 159, 1000])
def test_students_quantile(degrees: int) -> None:
    assert student_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-4)


def test_the_exact_test_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        differences = rng.choice([-0.4, -0.2, 0.2, 0.4, 0.6], 9)
        expected = stats.permutation_test(
            (differences, np.zeros(9)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert permutation_p(differences) == pytest.approx(expected, abs=1e-9)


def test_many_passes_agree_with_the_normal_limit() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(0.1, 0.6, 200)
    expected = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert permutation_p(differences) == pytest.approx(expected, abs=0.015)


def test_the_width_is_students_with_two_passes_added_to_the_spread() -> None:
    differences = np.random.default_rng(2).normal(0, 0.3, 50)
    spread = 49 * differences.var(ddof=1) + 2 / 52
    assert half_width(differences) == pytest.approx(stats.t.ppf(0.975, 49) * np.sqrt(spread / 49 / 50), rel=1e-3)


@given(SHARES)
def test_an_interval_holds_its_mean_and_flips_with_it(values: list[float]) -> None:
    a, zero = np.array(values), np.zeros(len(values))
    found, flipped = paired_difference(a, zero), paired_difference(zero, a)
    assert found is not None and flipped is not None
    assert -1 <= found.low <= found.mean <= found.high <= 1 and 0 < found.p <= 1
    assert flipped.mean == pytest.approx(-found.mean) and flipped.low == pytest.approx(-found.high)
    assert flipped.p == pytest.approx(found.p, abs=0.02)


def test_nothing_differs() -> None:
    found = paired_difference(np.ones(30), np.ones(30))
    assert found is not None and found.p == 1 and not found.shown and found.low < 0 < found.high
    assert paired_difference(np.empty(0), np.empty(0)) is None


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.5, 0.1)])
@pytest.mark.full
def test_coverage_and_level(rates: tuple[float, float]) -> None:
    """A small run of benchmarks/fieldtest_coverage.py: 400 tables, so within three standard errors of 95 and 5 %."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    from fieldtest_coverage import shares

    rng = np.random.default_rng([7, *(round(100 * rate) for rate in rates)])
    covered = positive = 0
    for table in range(400):
        a, b = shares(rng, rates, 160, 5, 0.5, 0.5)
        covered += abs((a - b).mean() - (rates[0] - rates[1])) <= half_width(a - b)
        positive += permutation_p(a - b, table) <= 0.05 if table < 150 else 0
    assert 0.917 <= covered / 400 <= 0.983
    assert rates[0] != rates[1] or positive / 150 <= 0.1
