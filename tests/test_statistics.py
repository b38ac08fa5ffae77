import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from edgeguard.statistics import bootstrap_difference, mutual_information, paired_proportions, snr_db, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (361, 400), (1, 1000)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("both", "only_first", "only_second", "n"), [(200, 60, 20, 500), (10, 1, 4, 40), (30, 0, 0, 60)]
)
def test_paired_proportions_cover_the_truth(both: int, only_first: int, only_second: int, n: int) -> None:
    shares = np.array([both, only_first, only_second, n - both - only_first - only_second]) / n
    tables = np.random.default_rng(0).multinomial(n, shares, size=4000)
    found = np.array([paired_proportions(int(first), int(second), n) for _, first, second, _ in tables])
    truth = (only_second - only_first) / n
    inside = (found[:, 1] <= truth) & (truth <= found[:, 2])
    assert inside.mean() > 0.94 and (n < 100 or inside.mean() < 0.965)
    assert found[:, 0].mean() == pytest.approx(truth, abs=3 * found[:, 0].std() / 4000**0.5 + 1e-9)


def test_paired_proportions_of_little() -> None:
    assert paired_proportions(0, 0, 0) == (0.0, -1.0, 1.0)
    difference, low, high = paired_proportions(0, 6, 6)
    assert difference == 1 and 0 < low < 1 and high == 1


def test_snr() -> None:
    reference = np.array([3.0, 4.0], np.float32)
    assert snr_db(reference, reference + np.float32(0.5)) == pytest.approx(10 * np.log10(25 / 0.5), abs=1e-4)
    assert snr_db(reference, reference) == float("inf")
    assert snr_db(np.zeros(2, np.float32), reference) == float("-inf")


def test_mutual_information_is_not_fooled_by_a_confident_constant() -> None:
    constant = np.zeros((50, 10))
    constant[:, 3] = 1
    unsure = np.full((50, 10), 0.1)
    sure = np.eye(10)[np.arange(50) % 10]
    assert mutual_information(constant) == 0 and mutual_information(unsure) == pytest.approx(0)
    assert mutual_information(sure) == pytest.approx(np.log(10))


def test_bootstrap_separates_only_what_is_separate() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((200, 1)) < 0.9).astype(float), (rng.random((200, 1)) < 0.5).astype(float)
    mean = lambda rows: float(rows.mean())  # noqa: E731
    assert bootstrap_difference(a, b, mean)[0] > 0.2
    low, high = bootstrap_difference(a, a[::-1], mean)
    assert low <= 0 <= high
