import time
from dataclasses import replace

import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep

from edgeguard.errors import InputError
from edgeguard.evaluate.reports.compare import compare, mcnemar_exact
from edgeguard.evaluate.reports.results import Cell

A = Cell("p", "white", "input", "frame", "pgd", 2, "fd", 1, 50, 10, "same", correct_images=tuple(range(10)))


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 9), (4, 4), (0, 7), (12, 3)])
def test_mcnemar_is_scipys_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected)


def test_the_interval_is_statsmodels_newcombe() -> None:
    (found,) = compare([A], [replace(A, correct=31, images="other")])
    low, high = confint_proportions_2indep(31, 50, 10, 50, method="newcomb")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert found.difference == pytest.approx(0.42) and found.p_paired is None


def test_the_same_images_are_paired() -> None:
    b = replace(A, correct=15, correct_images=tuple(range(2, 17)))
    (found,) = compare([A], [b])
    assert found.difference == pytest.approx(0.1)
    assert found.p_paired == pytest.approx(binomtest(2, 9).pvalue)
    low, high = confint_proportions_2indep(15, 50, 10, 50, method="newcomb")
    assert low < found.low < 0.1 < found.high < high  # what both kept tells nothing about the difference


def test_nothing_in_common() -> None:
    with pytest.raises(InputError, match="no cell in common"):
        compare([A], [replace(A, protocol="q")])


@pytest.mark.parametrize(("only_a", "only_b"), [(1000, 1001), (1500, 1600), (0, 5000), (40_000, 41_000), (9, 3000)])
def test_mcnemar_of_many_images_is_the_same_test(only_a: int, only_b: int) -> None:
    assert mcnemar_exact(only_a, only_b) == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-7)


def test_results_of_a_stranger_with_millions_of_images_take_no_minutes() -> None:
    """Exact numbers of 400,000 binary digits, 200,000 times, took hours."""
    began = time.process_time()
    assert mcnemar_exact(5_000_000, 5_000_000) == pytest.approx(1, abs=1e-3)
    assert time.process_time() - began < 5
