"""Rules of events: when they begin, when they are over, and what a clock that jumps does to them."""

from collections.abc import Callable
from typing import Any

import pytest

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.model import load_model
from edgeguard.model.prediction import BoxScore, Prediction, Score
from edgeguard.pipeline.event import EventLog
from edgeguard.pipeline.result import FrameResult
from edgeguard.watch.events import Watch
from edgeguard.watch.rules import ClassLimits, EventRule, Mask, Rules, Zone

Make = Callable[..., FrameResult]
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


class Clock:
    """Seconds that a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _seen(*boxes: tuple[str, float, float, float]) -> Prediction:
    """Objects 40 wide and 80 high: label, score, left, top."""
    found = tuple(BoxScore(label, len(label), score, x, y, x + 40, y + 80) for label, score, x, y in boxes)
    return Prediction(tuple(Score(b.label, b.index, b.score) for b in found[:5]), found)


class Scene:
    """A watch that is fed at ten results a second."""

    def __init__(self, make: Make, *rules: Any, track: bool = False) -> None:
        found = Rules(
            tuple(one for one in rules if isinstance(one, Zone)),
            tuple(one for one in rules if isinstance(one, Mask)),
            tuple(one for one in rules if isinstance(one, ClassLimits)),
            tuple(one for one in rules if isinstance(one, EventRule)),
        )
        self.clock, self.log, self.make, self.frame = Clock(), EventLog(), make, 0
        self.watch = Watch(found, "", self.log, track=track, clock=self.clock, background=0)

    def feed(self, count: int, prediction: Prediction, **changes: Any) -> FrameResult:
        for _ in range(count):
            self.clock.now += 0.1
            changes = {"prediction": prediction, **changes}
            result = self.watch.update(self.make(self.frame, **changes), live=True)
            self.frame += 1
        return result

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(e["rule"], "OFF" if e["ended"] else "ON") for e in self.log.since(0)[1]]


@pytest.fixture
def make(scene: Any) -> Make:
    from dataclasses import replace

    from edgeguard.guard import GuardProfile, encode_jpeg
    from edgeguard.guard.passes import receive_jpeg

    received = receive_jpeg(encode_jpeg(scene, GuardProfile.preset("jpeg:90")), None)

    def made(frame: int = 0, **changes: Any) -> FrameResult:
        result = FrameResult(
            frame=frame, source="camera:0", captured_at=1000.0 + frame / 10, time_source="received", age_ms=12.0,
            prediction=_seen(), decode_ms=1.0, sanitize_ms=2.0, infer_ms=3.0, pass1="none", passes=1,
            certified_share=None, profile=None, model="m" * 64, undefended=None, rgb=None, received=received,
        )  # fmt: skip
        return replace(result, **changes)

    return made


def test_consecutive_frames_begin_an_event_and_a_pause_ends_it(make: Make) -> None:
    one = Scene(make, EventRule("cat", label="cat", frames=3, hold=1.0))
    cat = _seen(("cat", 0.9, 10, 10))
    one.feed(2, cat)
    one.feed(1, _seen())
    one.feed(2, cat)
    assert one.told == []
    result = one.feed(1, cat)
    assert one.told == [("cat", "ON")] and result.to_dict()["events"] == [result.events[0].id]
    one.feed(9, _seen())
    one.feed(1, cat)  # within the pause: it is the same one
    one.feed(10, _seen())
    assert one.told == [("cat", "ON")]
    one.feed(2, _seen())
    (event,) = one.log.newest()
    assert one.told == [("cat", "ON"), ("cat", "OFF")] and event["frame"] == 3 and event["began"] == 1000.3
    assert "events" not in one.feed(1, _seen()).to_dict()


def test_score_zone_and_cooldown(make: Make) -> None:
    rule = EventRule("left-cat", label="cat", zone="left", frames=1, score=0.8, hold=0.2, cooldown=5.0)
    one = Scene(make, Zone("left", LEFT), rule)
    one.feed(5, _seen(("cat", 0.9, 200, 10), ("cat", 0.7, 10, 10), ("dog", 0.9, 10, 10)))
    assert one.told == []
    result = one.feed(5, _seen(("cat", 0.9, 10, 10)))
    assert result.zones == {"left": {"objects": {"cat": 1}}} and len(one.told) == 1
    one.feed(5, _seen())
    one.feed(40, _seen(("cat", 0.9, 10, 10)))
    assert len(one.told) == 2, "it cools down"
    one.feed(20, _seen(("cat", 0.9, 10, 10)))
    assert len(one.told) == 3


def test_masks_and_limits_leave_boxes_out(make: Make) -> None:
    one = Scene(make, Mask(LEFT), ClassLimits("cat", score=0.6), ClassLimits("dog", least_area=0.5))
    result = one.feed(
        1, _seen(("cat", 0.9, 10, 10), ("cat", 0.7, 200, 10), ("cat", 0.5, 220, 90), ("dog", 0.9, 200, 9))
    )
    assert [(b.label, b.x1) for b in result.prediction.boxes or ()] == [("cat", 200)]
    assert result.prediction.top == (Score("cat", 3, 0.7),)


def test_who_stays_too_long(make: Make) -> None:
    one = Scene(make, Zone("left", LEFT), EventRule("loiter", zone="left", stay=2.0, frames=1), track=True)
    one.feed(15, _seen(("cat", 0.9, 10, 10)))
    assert one.told == []
    result = one.feed(10, _seen(("cat", 0.9, 12, 10)))
    assert one.told == [("loiter", "ON")] and result.events[0].track == 1
    assert result.to_dict()["boxes"][0]["track"] == 1
    assert result.zones is not None and result.zones["left"]["in"] == {"cat": 1}


def test_without_tracking_boxes_have_the_keys_that_they_had(make: Make) -> None:
    result = Scene(make, Zone("left", LEFT)).feed(1, _seen(("cat", 0.9, 10, 10)))
    assert list(result.to_dict()["boxes"][0]) == ["label", "index", "score", "x1", "y1", "x2", "y2"]
    assert not {"zones", "events", "camera"} & set(Scene(make).feed(1, _seen()).to_dict())


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps_begins_and_ends_nothing(make: Make, jump: float) -> None:
    one = Scene(make, EventRule("cat", label="cat", hold=1.0))
    cat = _seen(("cat", 0.9, 10, 10))
    one.feed(5, cat)
    one.feed(5, cat, captured_at=1000.0 + jump)
    assert one.told == [("cat", "ON")]
    one.feed(12, _seen(), captured_at=1000.0 + jump)
    (event,) = one.log.newest()
    assert len(one.told) == 2 and event["ended"] >= event["began"]


def test_a_camera_that_goes_away_ends_its_events(make: Make) -> None:
    one = Scene(make, EventRule("cat", label="cat", hold=1.0), EventRule("still", alarm="frozen", hold=1.0))
    one.feed(5, _seen(("cat", 0.9, 10, 10)))
    one.clock.now += 3
    one.watch.tick(("frozen",))
    assert one.told == [("cat", "ON"), ("still", "ON"), ("cat", "OFF")]
    one.watch.close()
    assert one.told[-1] == ("still", "OFF")


def test_an_alarm_begins_an_event_at_once(make: Make) -> None:
    one = Scene(make, EventRule("attack", alarm="disagreement", frames=3, hold=1.0))
    one.feed(1, _seen(), alarms=("disagreement",))
    assert one.told == [("attack", "ON")] and one.log.newest()[0]["kind"] == "alarm"
    one.feed(12, _seen())
    assert one.told[-1] == ("attack", "OFF")


def test_a_classifiers_background_is_no_object(make: Make) -> None:
    one = Scene(make, EventRule("any", frames=1))
    one.feed(5, Prediction((Score("background", 0, 0.99),)))
    assert one.told == []
    one.feed(1, Prediction((Score("stop", 1, 0.9), Score("background", 0, 0.1))))
    assert one.told == [("any", "ON")] and one.log.newest()[0]["label"] == "stop"


def test_rules_that_the_model_does_not_fit() -> None:
    model = load_model(bundled_model())
    for rules, said in (
        (Rules(events=(EventRule("e", label="unicorn"),)), r"\[\[event\]\]: the model has no class 'unicorn'; it has "),
        (Rules(zones=(Zone("z", LEFT),)), "zones, masks and classes are for detectors; this model's task is classify"),
    ):
        with pytest.raises(InputError, match=said):
            rules.check_model(model.contract, model.classes)
    Rules(events=(EventRule("e", label="stop"),)).check_model(model.contract, model.classes)


def test_a_hostile_label_stays_data(make: Make) -> None:
    label = "<script>'\"{{ 1 }}\n"
    one = Scene(make, EventRule("e", label=label, frames=1))
    one.feed(1, _seen((label, 0.9, 10, 10)))
    (event,) = one.log.newest()
    assert event["label"] == label and set(event["id"]) <= set("0123456789abcdefTZ-.e")
