"""The patch that provably changes nothing: in the result line, and as an alarm."""

from dataclasses import replace

from pipeline.test_proven import _result

from edgeguard.pipeline.alarms import Alarms
from edgeguard.pipeline.result import FrameResult


def _sized(pixels: int | None) -> FrameResult:
    result = _result(None)
    return replace(result, prediction=replace(result.prediction, certified_patch=pixels, certified_patch_frame=pixels))


def test_the_line_has_the_size_of_models_that_prove_and_of_no_others() -> None:
    assert "certified_patch" not in _sized(None).to_dict()
    line = _sized(0).to_dict()
    assert line["certified_patch"] == 0 and line["certified_patch_frame"] == 0


def test_the_alarm_rings_while_half_of_the_results_prove_too_little() -> None:
    alarms = Alarms(disagreement=0.0, certified=0.0, certified_patch=5, window=4)
    rang = [alarms.update(_sized(pixels)) for pixels in (9, 4, 9, 0, 0, 9, 9, 9, 9)]
    assert [bool(names) for names in rang] == [False, False, False, True, True, True, True, True, False]
    assert rang[3] == ("certified-patch",)
    off = Alarms(disagreement=0.0, certified=0.0, window=1)
    assert off.update(_sized(0)) == ()
