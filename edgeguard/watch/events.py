"""What is watched for in one camera's results: limits and masks, tracks, zones, and the rules of events."""

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeguard.model.prediction import BoxScore, Prediction, Score
from edgeguard.pipeline.event import Event, EventLog, Keeping, time_stamp
from edgeguard.pipeline.result import FrameResult
from edgeguard.watch.presence import Presence
from edgeguard.watch.rules import EventRule, Rules
from edgeguard.watch.tracker import ByteTracker
from edgeguard.watch.zones import contains


@dataclass(frozen=True)
class _Sight:
    """Something in a frame that a rule may be about."""

    label: str
    index: int
    score: float
    box: BoxScore | None = None
    zones: tuple[str, ...] = ()


@dataclass(eq=False)
class _State:
    """Of a rule: the newest results in a row that show it; the event that goes on; when the next one may begin."""

    rule: EventRule
    row: deque[tuple[float, float, int]]  # when by our clock, when by the camera's, and number
    event: Event | None = None
    free_at: float = float("-inf")


class Watch:
    """Watches one camera. `update` is called with each result, `tick` about once a second; they may be in two threads.

    Args:
        rules: those of this camera.
        camera: its name; empty where there is only one.
        log: that events are told to.
        track: give a detector's objects identities.
        track_score: see `ByteTracker`.
        background: the index of the class that is nothing; None where there is none.
        clock: seconds; never jumps.
    """

    def __init__(
        self,
        rules: Rules,
        camera: str = "",
        log: EventLog | None = None,
        *,
        track: bool = False,
        track_score: float = 0.5,
        background: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._camera, self.log = rules, camera, log or EventLog()
        self._tracker = ByteTracker(track_score) if track else None
        self._limits = {one.label: one for one in rules.classes}
        self._presence = {zone.name: Presence() for zone in rules.zones} if track else {}
        self._states = [_State(rule, deque(maxlen=rule.frames)) for rule in rules.events]
        self._background, self._clock, self._at = background, clock, float("-inf")
        self._lock = threading.Lock()
        self._spots: list[tuple[str, ...]] = []  # the zones of each box of the last result
        self._dull = rules.is_empty and not track

    def update(self, result: FrameResult, *, live: bool) -> FrameResult:
        """The result with boxes that count, their tracks, the zones' counts and the events that go on."""
        # A live source's clock may be set while it runs: what lasts is measured by one that is not.
        at = self._clock() if live else max(self._at, result.captured_at)
        self._at = at
        result = replace(result, at=at, camera=self._camera or None)
        if self._dull:
            return result
        with self._lock:
            if result.prediction.boxes is not None and result.received is not None:
                result = self._place(result, *result.received.size(), at)
            sights = self._sights(result.prediction)
            for state in self._states:
                if state.rule.alarm is not None:
                    self._judge_alarm(state, result.alarms, at, result.captured_at, result.frame)
                else:
                    self._judge(state, sights, result, at)
            self._end_the_old(at, result.captured_at)
            going = tuple(state.event for state in self._states if state.event is not None)
        return replace(result, events=going)

    def tick(self, ringing: tuple[str, ...]) -> None:
        """Alarms that need no result, and events that no result ends: the camera may be gone."""
        if not self._states:
            return
        with self._lock:
            at, now = self._clock(), time.time()
            for state in self._states:
                if state.rule.alarm in ("frozen", "refused"):
                    self._judge_alarm(state, ringing, at, now, -1)
            self._end_the_old(at, now)

    def close(self) -> None:
        """The run ends, and with it what goes on."""
        with self._lock:
            for state in self._states:
                if state.event is not None:
                    self._end(state, max(self._at, state.event.seen_at), time.time())

    def _place(self, result: FrameResult, width: int, height: int, at: float) -> FrameResult:
        """Boxes that count, with their tracks, and the counts of the zones."""
        boxes = [box for box in result.prediction.boxes or () if self._counts(box, width, height)]
        if self._tracker is not None:
            corners = np.array([(b.x1, b.y1, b.x2, b.y2) for b in boxes], float).reshape(-1, 4)
            scores, classes = np.array([b.score for b in boxes]), np.array([b.index for b in boxes], np.int64)
            ids = self._tracker.update(corners, scores, classes).tolist()
            boxes = [replace(box, track=track or None) for box, track in zip(boxes, ids, strict=True)]
        boxes = [box for box in boxes if box.label not in self._limits or box.score >= self._limits[box.label].score]
        zones: dict[str, Any] = {}
        self._spots = [
            tuple(z.name for z in self._rules.zones if contains(z.points, *_anchor(box, z.anchor, width, height)))
            for box in boxes
        ]
        for zone in self._rules.zones:
            inside = [box for box, names in zip(boxes, self._spots, strict=True) if zone.name in names]
            zones[zone.name] = {"objects": dict(Counter(box.label for box in inside))}
            if (presence := self._presence.get(zone.name)) is not None:
                presence.update(at, {b.track: b.label for b in boxes if b.track},
                                {b.track for b in inside if b.track})  # fmt: skip
                zones[zone.name] |= presence.to_dict(at)
        top = tuple(Score(box.label, box.index, box.score) for box in boxes[:5])
        seen = Prediction(top, tuple(boxes))
        return replace(result, prediction=seen, zones=zones or None)

    def _counts(self, box: BoxScore, width: int, height: int) -> bool:
        limits = self._limits.get(box.label)
        if limits is not None:
            area = (box.x2 - box.x1) * (box.y2 - box.y1) / (width * height)
            if not limits.least_area <= area <= limits.most_area:
                return False
        return not any(contains(m.points, *_anchor(box, m.anchor, width, height)) for m in self._rules.masks)

    def _sights(self, seen: Prediction) -> list[_Sight]:
        if seen.boxes is not None:
            spots = self._spots or [()] * len(seen.boxes)
            return [_Sight(b.label, b.index, b.score, b, names) for b, names in zip(seen.boxes, spots, strict=True)]
        if seen.shares is not None:
            return [_Sight(share.label, share.index, share.score) for share in seen.shares]
        return [] if seen.best is None else [_Sight(seen.best.label, seen.best.index, seen.best.score)]

    def _judge(self, state: _State, sights: list[_Sight], result: FrameResult, at: float) -> None:
        found = [sight for sight in sights if self._is_meant(state.rule, sight, at)]
        if not found:
            state.row.clear()
            return
        self.log.saw(self._camera, state.rule.name)
        best = max(found, key=lambda sight: sight.score)
        state.row.append((at, result.captured_at, result.frame))
        event = state.event
        if event is not None:
            event.seen_at = at
            if event.score is None or best.score > event.score:
                event.score, event.label, event.index = best.score, best.label, best.index
        elif len(state.row) == state.rule.frames and at >= state.free_at:
            box = best.box
            self._begin(
                state, at, state.row[0], kind="object", label=best.label, index=best.index, score=best.score,
                track=None if box is None else box.track,
                box=None if box is None else (box.x1, box.y1, box.x2, box.y2),
            )  # fmt: skip

    def _is_meant(self, rule: EventRule, sight: _Sight, at: float) -> bool:
        if sight.score < rule.score or (rule.label is None and sight.index == self._background):
            return False
        if rule.label is not None and sight.label != rule.label:
            return False
        if rule.zone is None:
            return True
        if rule.zone not in sight.zones:
            return False
        if not rule.stay:
            return True
        track = None if sight.box is None else sight.box.track
        return track is not None and self._presence[rule.zone].stay_s(track, at) >= rule.stay

    def _judge_alarm(self, state: _State, ringing: tuple[str, ...], at: float, captured: float, frame: int) -> None:
        name = state.rule.alarm
        assert name is not None
        if name not in ringing:
            return
        if state.event is not None:
            state.event.seen_at = at
        elif at >= state.free_at:
            self._begin(state, at, (at, captured, frame), kind="alarm", label=name)

    def _begin(self, state: _State, at: float, first: tuple[float, float, int], **said: Any) -> None:
        rule, (began_at, began, frame) = state.rule, first
        stamp = time_stamp(began)
        name = "-".join(filter(None, (stamp, self._camera, rule.name, secrets.token_hex(2))))
        keeping = Keeping(rule.before, rule.after, 3600 * rule.retain_hours) if rule.record else None
        said = {"index": None, "score": None, "track": None, **said}
        state.event = Event(
            id=name, camera=self._camera, rule=rule.name, zone=rule.zone, began=began, began_at=began_at, seen_at=at,
            frame=frame, keeping=keeping, **said,
        )  # fmt: skip
        self.log.tell(state.event)

    def _end_the_old(self, at: float, now: float) -> None:
        for state in self._states:
            if state.event is not None and at - state.event.seen_at > state.rule.hold:
                self._end(state, at, now)

    def _end(self, state: _State, at: float, now: float) -> None:
        event = state.event
        assert event is not None
        event.ended_at, event.ended = at, max(event.began, now)
        state.event, state.free_at = None, at + state.rule.cooldown
        state.row.clear()
        self.log.tell(event)


def _anchor(box: BoxScore, anchor: str, width: int, height: int) -> tuple[float, float]:
    y = box.y2 if anchor == "bottom" else (box.y1 + box.y2) / 2
    return (box.x1 + box.x2) / 2 / width, min(y / height, 1 - 1e-9)
