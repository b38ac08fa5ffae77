"""Events of a run: what a rule saw, from when to when; and the list of them that pages and messages read."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

SCHEMA = 1
_KEPT = 500


@dataclass(frozen=True)
class Keeping:
    """What is kept of an event's pictures.

    Attributes:
        before_s, after_s: source frames before it began and after it was over.
        retain_s: for how long; 0 leaves it to the quota.
    """

    before_s: float
    after_s: float
    retain_s: float


@dataclass(eq=False)
class Event:
    """What a rule saw.

    Attributes:
        id: unique; also the name of its folder.
        camera: by its name; empty where there is only one.
        rule: the name of the rule.
        kind: `object` or `alarm`.
        label, index, score: the class, and the best score so far; of an alarm its name, None and None.
        zone, track: where and who, where that is known.
        began, ended: Unix seconds; `ended` is None while it goes on.
        began_at, seen_at, ended_at: the same, and when it was last seen, on a clock that never jumps.
        frame: number of the first frame.
        keeping: what is kept of its pictures; None for nothing.
    """

    id: str
    camera: str
    rule: str
    kind: str
    label: str
    index: int | None
    score: float | None
    zone: str | None
    track: int | None
    began: float
    began_at: float
    seen_at: float
    frame: int
    box: tuple[float, float, float, float] | None = None
    ended: float | None = None
    ended_at: float | None = None
    keeping: Keeping | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is published (docs/reference/published.schema.json)."""
        return {
            "schema": SCHEMA, "id": self.id, "camera": self.camera, "rule": self.rule, "kind": self.kind,
            "label": self.label, "index": self.index, "score": self.score, "zone": self.zone, "track": self.track,
            "frame": self.frame, "began": round(self.began, 3),
            "ended": None if self.ended is None else round(self.ended, 3), "recorded": self.keeping is not None,
        }  # fmt: skip


@dataclass
class EventLog:
    """The newest events of all cameras; safe in several threads.

    Attributes:
        changes: number of beginnings and ends so far.
        begun: events so far, by camera and rule.
        shown: results so far that showed what the rule is about, by camera and rule.
    """

    changes: int = 0
    begun: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: Counter[tuple[str, str]] = field(default_factory=Counter)
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _told: deque[tuple[int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, event: Event) -> None:
        """An event began, or it ended."""
        with self._changed:
            if event.ended is None:
                self._events.append(event)
                self.begun[event.camera, event.rule] += 1
            self.changes += 1
            self._told.append((self.changes, event.to_dict()))
            self._changed.notify_all()

    def saw(self, camera: str, rule: str) -> None:
        """A result showed what a rule is about; it may be too few of them in a row."""
        with self._changed:
            self.shown[camera, rule] += 1

    def since(self, number: int) -> tuple[int, list[dict[str, Any]]]:
        """How many changes there were, and those after the first `number`, as far as they are kept."""
        with self._changed:
            return self.changes, [said for at, said in self._told if at > number]

    def wait(self, number: int, timeout_s: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait for a change after the first `number`."""
        with self._changed:
            self._changed.wait_for(lambda: self.changes > number or over(), timeout_s)

    def newest(self) -> list[dict[str, Any]]:
        """All that are kept, the newest first."""
        with self._changed:
            return [event.to_dict() for event in reversed(self._events)]

    def going_on(self, camera: str) -> list[Event]:
        """Those of a camera that are not over."""
        with self._changed:
            return [event for event in self._events if event.ended is None and event.camera == camera]


@dataclass
class Minutes:
    """The most objects of each class that were seen at once, for each minute of the last day."""

    _rows: deque[tuple[int, dict[str, int]]] = field(default_factory=lambda: deque(maxlen=1440))
    _most_classes: int = 8

    def add(self, counts: dict[str, int], now: float | None = None) -> None:
        """Counts by label, now; a clock that went back goes on with the last minute."""
        minute = int((time.time() if now is None else now) // 60)
        if not self._rows or minute > self._rows[-1][0]:
            self._rows.append((minute, {}))
        row = self._rows[-1][1]
        for label, count in counts.items():
            if label in row or len(row) < self._most_classes:
                row[label] = max(row.get(label, 0), count)

    def to_list(self) -> list[list[Any]]:
        """[Unix seconds, {label: most at once}] of each minute in which there was a result."""
        return [[60 * minute, dict(row)] for minute, row in list(self._rows)]


def time_stamp(captured_at: float) -> str:
    """The time for a folder's name; a film may say one that no calendar has, and then it is the clock's."""
    try:
        time_of = datetime.fromtimestamp(captured_at, UTC)
    except (ValueError, OverflowError, OSError):
        time_of = datetime.now(UTC)
    return time_of.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z"
