"""One frame's result: what `run` writes, shows and counts."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.passes import Pass1, Received
from edgeguard.model.prediction import BoxScore, Prediction, Score
from edgeguard.pipeline.event import Event
from edgeguard.smoothing.frames import SmoothedFrame

SCHEMA = 1


_UNPAIRED = re.compile("[\ud800-\udfff]")


def unpaired_escaped(text: str) -> str:
    """JSON that UTF-8 can hold: a file's name may have bytes that are no text, which Python keeps as half pairs."""
    return _UNPAIRED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass(frozen=True)
class HeardWindow:
    """What a result of sound says beside its label.

    Attributes:
        start_s: where the window begins in its file, or since the microphone was opened.
        level_dbfs: of its loudest 32 ms, in dB below full scale; -100 for silence.
        heard: the label that holds (`heard.Heard`), or None.
        fit: `padded` or `cut`, where a clip had another length than the window.
        proven_steps: the largest change, in 16-bit steps, that pass 2 removes from every frame; None without a guard.
    """

    start_s: float
    level_dbfs: float
    heard: str | None
    fit: str = ""
    proven_steps: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For the result line."""
        return {
            "start_s": round(self.start_s, 4),
            "level_dbfs": round(self.level_dbfs, 1),
            "heard": self.heard,
            **({"fit": self.fit} if self.fit else {}),
            **({} if self.proven_steps is None else {"proven_steps": self.proven_steps}),
        }


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The result of one frame. Attributes that are not listed are those of the JSON line (docs/run.md).

    Attributes:
        rgb: the frame that the model's crop was taken from, where the pipeline keeps it.
        received: the frame as it came out of pass 1: the camera's own JPEG where it sent one.
        patch_suspect, patch_alarm: whether the patch guard marked anything, and whether it rang; None without one.
        alarms: names of the run's alarms that ring.
        certifies: whether frames of this run can be proven; without, the line has no keys for it.
        sound: of a model that hears.
        smoothed: what noisy copies of the frame said, where the run draws some; without, the line has no key for it.
        camera: its name, where there are several.
        at: seconds on a clock that never jumps; of files, of their own time. None before it was watched.
        zones: what is in each zone, by its name.
        events: that go on.
    """

    frame: int
    source: str
    captured_at: float
    time_source: str
    age_ms: float | None
    prediction: Prediction
    decode_ms: float
    sanitize_ms: float
    infer_ms: float
    pass1: Pass1
    passes: int
    certified_share: float | None
    profile: str | None
    model: str
    undefended: Score | None
    rgb: NDArray[np.uint8] | None
    received: Received | None = None
    patch_suspect: bool | None = None
    patch_alarm: bool | None = None
    alarms: tuple[str, ...] = ()
    certifies: bool = False
    sound: HeardWindow | None = None
    certified_share_2: float | None = None
    proven: bool | None = None
    proven_2: bool | None = None
    smoothed: SmoothedFrame | None = None
    camera: str | None = None
    at: float | None = None
    zones: dict[str, Any] | None = None
    events: tuple[Event, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The frozen JSON schema of a result line."""
        best, boxes = self.prediction.best, self.prediction.boxes
        shares, keypoints = self.prediction.shares, self.prediction.keypoints
        return {
            "schema": SCHEMA,
            "frame": self.frame,
            "source": self.source,
            "captured_at": round(self.captured_at, 6),
            "time_source": self.time_source,
            "age_ms": None if self.age_ms is None else round(self.age_ms, 2),
            "label": None if best is None else best.label,
            "index": self.prediction.index,
            "score": self.prediction.score,
            "top": [_score(score) for score in self.prediction.top],
            "ms": {
                "decode": round(self.decode_ms, 3),
                "sanitize": round(self.sanitize_ms, 3),
                "infer": round(self.infer_ms, 3),
            },
            "pass1": self.pass1,
            "passes": self.passes,
            "certified_share": _rounded(self.certified_share),
            "profile": self.profile,
            "model": self.model,
            "undefended": None if self.undefended is None else _score(self.undefended),
            **(self.proof_dict() if self.certifies else {}),
            **({} if self.sound is None else {"sound": self.sound.to_dict()}),
            **({} if self.smoothed is None else {"smoothed": asdict(self.smoothed)}),
            **({} if self.patch_alarm is None else {"patch_alarm": self.patch_alarm}),
            **({"alarms": list(self.alarms)} if self.alarms else {}),
            **self._patch_dict(),
            **({} if boxes is None else {"boxes": [_box(box) for box in boxes]}),
            **({} if shares is None else {"shares": [_share(score) for score in shares]}),
            **({} if keypoints is None else {"keypoints": [asdict(point) for point in keypoints]}),
            **({} if self.camera is None else {"camera": self.camera}),
            **({} if self.zones is None else {"zones": self.zones}),
            **({"events": [event.id for event in self.events]} if self.events else {}),
        }

    def _patch_dict(self) -> dict[str, Any]:
        """Only of models that prove their labels against a patch."""
        found = self.prediction
        if found.certified_patch is None:
            return {}
        return {"certified_patch": found.certified_patch, "certified_patch_frame": found.certified_patch_frame}

    def proof_dict(self) -> dict[str, Any]:
        """The keys that only runs have whose frames can be proven."""
        return {
            "certified_share_2": _rounded(self.certified_share_2),
            "proven": self.proven,
            "proven_2": self.proven_2,
        }

    def to_json(self) -> str:
        """One line of JSON, without the newline."""
        return unpaired_escaped(json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":")))


def _rounded(share: float | None) -> float | None:
    """Four digits; what is not all of it is not rounded to all of it."""
    return None if share is None else round(share, 4) if share == 1 else min(round(share, 4), 0.9999)


def _box(box: BoxScore) -> dict[str, Any]:
    return {name: value for name, value in asdict(box).items() if name != "track" or value is not None}


def _score(score: Score) -> dict[str, Any]:
    return {"label": score.label, "index": score.index, "score": score.score}


def _share(share: Score) -> dict[str, Any]:
    return {"label": share.label, "index": share.index, "share": share.score}
