"""What a run is doing, for whoever asks: the web page, MQTT, Prometheus, the watchdog."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeguard.camera.reader import State
from edgeguard.camera.source import Applied
from edgeguard.model.contract import Contract
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.event import EventLog, Minutes
from edgeguard.pipeline.result import FrameResult
from edgeguard.system.power import Power

_HISTORY = 300


class SinkState(Protocol):
    """How a sink fares (`sinks.sink.QueuedSink`)."""

    name: str
    written: int
    dropped: int
    failure: str | None


def by_camera(status: "RunStatus | Mapping[str, RunStatus]") -> "Mapping[str, RunStatus]":
    """The states of all cameras by name; the only one has none."""
    return {"": status} if isinstance(status, RunStatus) else status


@dataclass
class RunStatus:
    """Written by the run's own thread and the camera's, read by others.

    Attributes:
        source, applied: what gives the frames, and how it was set up.
        state, reason: of the camera, and why it was lost.
        last: the newest result.
        result_at: monotonic time of it.
        away_since: Unix time since when the camera gives nothing that may be taken; None while it does.
        last_proof: the newest result whose frame was looked at for a proof.
        ringing: alarms.
        coding: sampling and tables of the camera's JPEGs, as they were seen last; empty for raw frames.
        slowed: what slows the run down on purpose; empty when nothing does.
        camera: its name, where there are several.
        rules: zones, masks, classes and events, as they are configured.
        events, minutes: of all cameras; and the counts of objects of this one.
    """

    source: str
    contract: Contract
    model: str
    counters: Counters
    applied: Applied = field(default_factory=Applied)
    state: State = State.STARTING
    reason: str = ""
    away_since: float | None = None
    last: FrameResult | None = None
    result_at: float | None = None
    last_proof: FrameResult | None = None
    ringing: tuple[str, ...] = ()
    power: Power = field(default_factory=lambda: Power(None, None, None))
    slowed: str = ""
    coding: str = ""
    camera: str = ""
    rules: dict[str, Any] = field(default_factory=dict)
    events: EventLog = field(default_factory=EventLog)
    minutes: Minutes = field(default_factory=Minutes)
    sinks: list[SinkState] = field(default_factory=list)
    history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    began: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def update(self, result: FrameResult) -> None:
        """Take a result."""
        point = {
            "frame": result.frame, "age_ms": result.age_ms, "label": result.prediction.label,
            "ms": result.decode_ms + result.sanitize_ms + result.infer_ms, "ringing": bool(self.ringing),
        }  # fmt: skip
        with self.lock:
            self.last, self.result_at = result, time.monotonic()
            if result.proven is not None:
                self.last_proof = result
            self.history.append(point)
            counts = result.prediction.counts()
            if self.contract.background and result.prediction.index == 0:
                counts = {}  # a classifier that sees nothing
            self.minutes.add(counts)

    def unhealthy(self, stale_after_s: float) -> str | None:
        """Why the run is not well: no result for too long, or of a picture that is old; None when it is well."""
        since = self.result_at if self.result_at is not None else self.began
        silent_s = time.monotonic() - since
        if silent_s <= stale_after_s:
            return "the camera's picture does not change" if "frozen" in self.ringing else None
        why = f" ({self.reason})" if self.reason and self.state is not State.RUNNING else ""
        return f"no result for {silent_s:.0f} s, camera {self.state}{why}"

    @property
    def shows_now(self) -> bool:
        """Whether the last result is of what the camera sees now."""
        return self.state is State.RUNNING and self.last is not None and "frozen" not in self.ringing

    def to_dict(self, last: FrameResult | None) -> dict[str, Any]:
        """Everything but pictures, as plain data, with the result that is to be shown."""
        with self.lock:
            history = list(self.history)
        guard = self.contract.guard
        return {
            "source": self.source, "applied": str(self.applied), "coding": self.coding,
            "state": str(self.state), "reason": self.reason, "away_since": self.away_since,
            "shows_now": self.shows_now,
            "size": self._size_of(last), "model": self.model,
            "guard": None if guard.profile is None else guard.profile.name,
            "patch_guard": guard.patch, "last": None if last is None else last.to_dict(), "ringing": self.ringing,
            "counters": self.counters.to_dict(), "slowed": self.slowed, "celsius": self.power.celsius,
            "limits": self.power.now, "uptime_s": round(time.monotonic() - self.began, 1), "history": history,
            "result_age_s": None if self.result_at is None else round(time.monotonic() - self.result_at, 2),
            "sinks": self.sinks_to_dict(), "proof": self.proof_to_dict(), "camera": self.camera, "rules": self.rules,
            "going_on": [event.to_dict() for event in self.events.going_on(self.camera)],
        }  # fmt: skip

    def proof_to_dict(self) -> dict[str, Any] | None:
        """What the newest proof says, with its frame; None before there is one."""
        found = self.last_proof
        if found is None:
            return None
        return {"frame": found.frame, "certified_share": found.certified_share, **found.proof_dict()}

    @staticmethod
    def _size_of(last: FrameResult | None) -> list[int] | None:
        """Width and height of the shown frame, in which its boxes are."""
        return None if last is None or last.received is None else list(last.received.size())

    def sinks_to_dict(self) -> list[dict[str, Any]]:
        """How each sink fares."""
        return [{key: getattr(s, key) for key in ("name", "written", "dropped", "failure")} for s in self.sinks]
