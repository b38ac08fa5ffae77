"""Matched boxes, and average precision as pycocotools has it."""

import pytest

from edgeguard.datasets.objects import TrueBox
from edgeguard.evaluate.detectors.matching import average_precision, judged, overlap
from edgeguard.model.prediction import BoxScore

pytest.importorskip("pycocotools", reason="needs the attack extra")


def _box(index: int, score: float, *corners: float) -> BoxScore:
    return BoxScore(str(index), index, score, *corners)


def test_each_box_is_for_one_object() -> None:
    truth = [TrueBox(0, (0, 0, 20, 20)), TrueBox(0, (2, 0, 22, 20)), TrueBox(1, (50, 50, 80, 80))]
    found = judged(truth, [_box(0, 0.9, 1, 0, 21, 20), _box(2, 0.8, 50, 50, 80, 80), _box(3, 0.5, 100, 100, 120, 120)])
    assert sorted(found.found) == [False, False, True] and found.found[2] is False
    assert found.said == (None, None, 2) and found.invented == (3,)


def test_what_is_not_counted_is_no_invention() -> None:
    found = judged([TrueBox(0, (0, 0, 20, 20), is_counted=False)], [_box(0, 0.9, 0, 0, 20, 20)])
    assert found.found == () and found.invented == ()


def test_average_precision_of_known_answers() -> None:
    truth = [[TrueBox(0, (0, 0, 20, 20))], [TrueBox(0, (0, 0, 20, 20))]]
    perfect = average_precision(truth, [[_box(0, 0.9, 0, 0, 20, 20)], [_box(0, 0.8, 0, 0, 20, 20)]], draws=5)
    assert (perfect.ap50, perfect.ap, perfect.low50, perfect.high50) == pytest.approx((1, 1, 1, 1))
    # one of two found, IoU .79: counts at six of ten thresholds, .5 to .75
    half = average_precision(truth, [[_box(0, 0.9, 0, 0, 20, 15.8)], []], draws=0)
    assert half.ap50 == pytest.approx(51 / 101) and half.ap == pytest.approx(51 / 101 * 6 / 10)
    assert average_precision(truth, [[], []], draws=3).ap50 == 0


def test_the_interval_holds_the_figure() -> None:
    truth = [[TrueBox(0, (0, 0, 20, 20))]] * 20
    found = [[_box(0, 0.9, 0, 0, 20, 20)] if n % 2 else [] for n in range(20)]
    precision = average_precision(truth, found)
    assert precision.low50 < precision.ap50 < precision.high50 and precision.high50 - precision.low50 > 0.2


def test_overlap_of_boxes_that_touch() -> None:
    assert overlap((0, 0, 2, 2), (2, 0, 4, 2)) == 0 and overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
