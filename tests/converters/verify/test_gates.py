"""The gates: one odd picture, and a model that answers nothing."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.model.contract import Contract, InputSpec
from edgeguard_converters.verify.gates import (
    Thresholds,
    answers_alike,
    chance_line,
    check_gates,
    loss_line,
    without_the_worst,
)

RNG = np.random.default_rng(0)


def _gates(expected: NDArray[np.float32], found: NDArray[np.float32], **thresholds: float):
    contract = Contract(input=InputSpec(width=8, height=8))
    return check_gates(
        (expected,), (expected,), (found,), contract=contract, labels=None, thresholds=Thresholds(**thresholds)
    )


def test_one_picture_outside_the_calibrated_range_does_not_refuse_a_good_model() -> None:
    expected = RNG.normal(size=(25, 10)).astype(np.float32)
    found = expected + RNG.normal(0, 0.05, expected.shape).astype(np.float32)
    expected[7] *= 6  # far beyond what calibration saw, where int8 saturates
    found[7] = expected[7] / 3
    report = _gates(expected, found)
    assert report.snr_db < 15 < 20 < (report.snr_trimmed_db or 0) and report.worst == 7
    assert report.failures == ()
    assert report.to_dict()["worst"] == 7


def test_many_such_pictures_do() -> None:
    expected = RNG.normal(size=(25, 10)).astype(np.float32)
    found = expected.copy()
    found[::5] *= 0.2
    report = _gates(expected, found)
    assert any(line.startswith("SNR gate") for line in report.failures)


def test_few_pictures_are_all_judged() -> None:
    expected = RNG.normal(size=(5, 10)).astype(np.float32)
    assert without_the_worst((expected,), (expected,)) == (None, None)
    found = expected.copy()
    found[0] *= -1
    assert any(line.startswith("SNR gate") for line in _gates(expected, found).failures)


def test_a_model_that_answers_the_same_is_refused() -> None:
    expected = np.tile(RNG.normal(size=(1, 10)).astype(np.float32), (20, 1))
    report = _gates(expected, expected.copy())
    assert report.agreement == 1 and "answers the same for each of 20 gate images" in report.failures[0]
    assert answers_alike((np.zeros((4, 3), np.float32),))
    assert not answers_alike((expected, RNG.normal(size=(20, 4)).astype(np.float32)))
    assert not answers_alike((expected[:1],))


def test_a_model_that_guesses_is_told_so() -> None:
    contract = Contract(input=InputSpec(width=8, height=8), labels=tuple("abcdefghij"))
    outputs = RNG.normal(size=(200, 10)).astype(np.float32)
    best = outputs.argmax(axis=1)
    for labels, guesses in ((np.roll(best, 1), True), (best, False)):
        report = check_gates(
            (outputs,), (outputs,), (outputs,), contract=contract, labels=labels.astype(np.int64),
            thresholds=Thresholds(),
        )  # fmt: skip
        line = chance_line(report, contract)
        assert (line is not None and "NOT SHOWN TO BE BETTER THAN GUESSING" in line and "10 classes" in line) is guesses
    assert chance_line(replace(report, float_top1=None), contract) is None


@pytest.mark.parametrize(("n", "float_top1", "int8_top1", "said"), [
    (400, 0.57, 0.52, True), (400, 0.57, 0.55, False), (60, 0.95, 0.90, False), (400, None, None, False),
])  # fmt: skip
def test_points_that_int8_loses_are_said(n: int, float_top1: float | None, int8_top1: float | None, said: bool) -> None:
    contract = Contract(input=InputSpec(width=8, height=8), labels=tuple("abcdefghij"))
    outputs = RNG.normal(size=(20, 10)).astype(np.float32)
    report = replace(_gates(outputs, outputs), n=n, float_top1=float_top1, int8_top1=int8_top1)
    line = loss_line(report, contract)
    assert (line is not None and "loses 5.0 points" in line) is said
