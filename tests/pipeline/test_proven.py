"""What is counted, alarmed and shown of frames that are proven, and of those that are not."""

from dataclasses import replace

import pytest

from edgeguard.demo.assets import bundled_model
from edgeguard.model import Prediction, Score, load_model
from edgeguard.pipeline.alarms import Alarm, Alarms
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus


def _result(proven: bool | None, proven_2: bool | None = False, share: float = 0.5) -> FrameResult:
    looked_at = proven is not None
    return FrameResult(
        frame=3, source="a", captured_at=12.5, time_source="source", age_ms=None,
        prediction=Prediction((Score("stop", 1, 0.9),)), decode_ms=1.0, sanitize_ms=2.0, infer_ms=3.0, pass1="sensor",
        passes=2, certified_share=share if looked_at else None, profile="p" * 64, model="m" * 64, undefended=None,
        rgb=None, certifies=True, certified_share_2=share / 2 if looked_at else None, proven=proven,
        proven_2=proven_2 if looked_at else None,
    )  # fmt: skip


def test_the_summary_counts_what_was_looked_at() -> None:
    counters = Counters()
    assert counters.to_dict()["proven_frames"] is None and counters.to_dict()["certified_frames"] == 0
    for result in (_result(True, True, 1.0), _result(True), _result(False), _result(None)):
        counters.add(result)
    summary = counters.to_dict()
    assert (summary["frames"], summary["certified_frames"]) == (4, 3)
    assert (summary["proven_frames"], summary["proven_2_frames"]) == (2, 1)
    assert (summary["certified_share"], summary["certified_share_2"]) == (0.6667, 0.3333)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_the_alarm_rings_for_frames_that_are_not_proven_and_only_where_it_is_on(level: float) -> None:
    changes = list[tuple[str, bool]]()

    def changed(alarm: Alarm) -> None:
        changes.append((alarm.name, alarm.ringing))

    alarms = Alarms(disagreement=0.0, certified=0.0, unproven=level, window=4, changed=changed)
    signs = [True, None, True, False, None, False, True, True, True, True]  # those not looked at are no sign
    rang = [alarms.update(_result(proven)) for proven in signs]
    if not level:
        assert changes == [] and not any(rang)
        return
    assert changes == [("unproven", True), ("unproven", False)]
    assert [bool(ringing) for ringing in rang] == [False] * 5 + [True] * 3 + [True, False]


def test_the_status_keeps_the_newest_proof() -> None:
    model = load_model(bundled_model())
    status = RunStatus("x", model.contract, model.sha256, Counters())
    assert status.to_dict(None)["proof"] is None
    status.update(replace(_result(True, True, 1.0), frame=8))
    status.update(replace(_result(None), frame=9))
    assert status.to_dict(status.last)["proof"] == {
        "frame": 8, "certified_share": 1.0, "certified_share_2": 0.5, "proven": True, "proven_2": True,
    }  # fmt: skip
