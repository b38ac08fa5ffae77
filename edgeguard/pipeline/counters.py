"""What a run counts: bounded in memory, whatever its length."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from edgeguard.pipeline.result import FrameResult

_WHY = {
    "run": "pass 1 was done by this process on the raw frames: nothing traveled between the passes",
    "camera": "the camera codes its JPEGs with the profile's tables",
    "sensor": "the sensor says so in the seals of its frames",
    "none": "nobody did pass 1 with this profile",
}
K = TypeVar("K")
_KEPT = 10_000  # times kept for the percentiles


def _recent() -> deque[float]:
    return deque(maxlen=_KEPT)


@dataclass
class Counters:
    """Counters and stage times of a run; times in milliseconds, of the last 10,000 frames.

    Attributes:
        frames: results given.
        captured, dropped, lost, skipped: whole frames that arrived; of these not taken in time; damaged ones; not
            wanted (`every`, `fps`).
        misread: of the lost ones those on which the graph ran and what it said was no result of its task.
        losses, reconnects: of the camera.
        certified_frames, proven, proven_2: frames that were looked at; of these proven at 1 and at 2 levels.
        refused: frames that were not taken for what their seal says, by why: that is no damage.
        other_profile: frames whose seal names another profile than the run's.
        unchanged: times that a camera said that its picture is the last one.
        noted: what a stream held that had to be passed over, and how often.
        checked_with_key: whether each frame's seal is checked with a key.
        suspected, alarms: frames that the patch guard changed or marked, and on which it rang.
        smoothed: frames that noisy copies certified; smoothing_ms, smoothing_draws: what each frame's cost and were.
    """

    frames: int = 0
    captured: int = 0
    dropped: int = 0
    lost: int = 0
    skipped: int = 0
    misread: int = 0
    losses: int = 0
    reconnects: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    other_profile: int = 0
    unchanged: int = 0
    noted: Counter[str] = field(default_factory=Counter)
    checked_with_key: bool = False
    disagreements: int = 0
    compared: int = 0
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    pass1: dict[str, int] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)
    certified_sum: float = 0.0
    certified_sum_2: float = 0.0
    certified_frames: int = 0
    proven: int = 0
    proven_2: int = 0
    suspected: int = 0
    alarms: int = 0
    smoothed: int = 0
    smoothing_ms: deque[float] = field(default_factory=_recent)
    smoothing_draws: deque[float] = field(default_factory=_recent)
    stage_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("decode", "sanitize", "infer"), 0.0))
    ages_ms: deque[float] = field(default_factory=_recent)
    stages: dict[str, deque[float]] = field(
        default_factory=lambda: {stage: _recent() for stage in ("decode", "sanitize", "infer")}
    )

    def add(self, result: FrameResult) -> None:
        """Count one result."""
        self.frames += 1
        self.pass1[result.pass1] = self.pass1.get(result.pass1, 0) + 1
        self.passes[result.passes] = self.passes.get(result.passes, 0) + 1
        if result.certified_share is not None:
            self.certified_sum += result.certified_share
            self.certified_sum_2 += result.certified_share_2 or 0.0
            self.certified_frames += 1
            self.proven += bool(result.proven)
            self.proven_2 += bool(result.proven_2)
        if result.undefended is not None:
            self.compared += 1
            self.disagreements += result.undefended.index != result.prediction.index
        self.suspected += bool(result.patch_suspect)
        self.alarms += bool(result.patch_alarm)
        if result.smoothed is not None:
            self.smoothed += result.smoothed.radius is not None
            self.smoothing_ms.append(result.smoothed.ms)
            self.smoothing_draws.append(result.smoothed.draws)
        if result.age_ms is not None:
            self.ages_ms.append(result.age_ms)
        times = (result.decode_ms, result.sanitize_ms, result.infer_ms)
        for (stage, values), value in zip(self.stages.items(), times, strict=True):
            values.append(value)
            self.stage_seconds[stage] += value / 1e3

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data; may be called from another thread than `add`."""
        elapsed = (self.ended_at or time.monotonic()) - self.started_at
        main_pass1, passes = _most_frequent(self.pass1, "none"), _most_frequent(self.passes, 0)
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "lost": self.lost,
            "skipped": self.skipped,
            "misread": self.misread,
            "refused": dict(self.refused),
            "other_profile": self.other_profile,
            "unchanged": self.unchanged,
            "noted": dict(self.noted),
            "losses": self.losses,
            "reconnects": self.reconnects,
            "fps": round(self.frames / elapsed, 2) if elapsed > 0 else 0.0,
            "ms": {stage: _percentiles(values) for stage, values in self.stages.items()},
            "age_ms": _percentiles(self.ages_ms),
            "pass1": main_pass1,
            "passes": passes,
            "why": self._why(main_pass1, passes),
            **self._proof(),
            "suspected": self.suspected,
            "alarms": self.alarms,
            "compared": self.compared,
            "disagreements": self.disagreements,
            **self._smoothing(),
        }

    def _smoothing(self) -> dict[str, Any]:
        """No keys where nothing was smoothed."""
        if not self.smoothing_ms:
            return {}
        draws = _percentiles(self.smoothing_draws)
        return {"smoothed": self.smoothed, "smoothing_ms": _percentiles(self.smoothing_ms), "smoothing_draws": draws}

    def _proof(self) -> dict[str, float | int | None]:
        count = self.certified_frames
        return {
            "certified_share": round(self.certified_sum / count, 4) if count else None,
            "certified_share_2": round(self.certified_sum_2 / count, 4) if count else None,
            "certified_frames": count,
            "proven_frames": self.proven if count else None,
            "proven_2_frames": self.proven_2 if count else None,
        }

    def _why(self, pass1: str, passes: int) -> str:
        if not self.frames:
            return "no results"
        if passes == 0:
            return "no guard"
        if pass1 == "sensor" and self.checked_with_key:
            return "the sensor's seal proves it: its MAC is your key's"
        return _WHY[pass1]


def _most_frequent(counts: dict[K, int], default: K) -> K:
    return max(list(counts.items()), key=lambda item: item[1], default=(default, 0))[0]


def _percentiles(values: deque[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    p50, p95 = np.percentile(list(values), [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}
