"""The event recorder: source frames around alarms and events, on a disk budget."""

import json
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edgeguard.errors import DeviceError, EdgeGuardError
from edgeguard.pipeline.event import Event, time_stamp
from edgeguard.pipeline.result import FrameResult, unpaired_escaped
from edgeguard.reporting.shown import size_within
from edgeguard.sinks.event_store import RESULTS, THUMBNAIL, EventStore, make_film, write_about
from edgeguard.system.files import write_bytes

_RAW_QUALITY = 95
_LONGEST_EVENT_S, _LONGEST_RULE_S = 60.0, 600.0
_MOST_FRAMES = 3000  # that wait in memory, whatever the seconds say
_MOST_BYTES = 64 << 20
_THUMBNAIL_PX = 320, 960  # width and height, at most


@dataclass(eq=False)
class _Clip:
    """An event that is being written; `event` is None for one around alarms.

    Attributes:
        until: when it is over, where that is known.
        times: of its first and last frame.
    """

    path: Path
    began: float
    event: Event | None = None
    until: float = float("inf")
    times: list[float] = field(default_factory=list)


class EventRecorder:
    """Keeps the last seconds in memory; an alarm or an event writes them, and what follows, into a folder of its own.

    A frame that came as JPEG, or as a sensor's PNG, is kept byte for byte. A raw one is coded at quality 95 with the
    camera's levels, and its line says so (`"recorded": "encoded"`). The levels of a PNG keep the room of pass 1: its
    line says which (`"room": 16`), and its seal does. Around alarms it ends some seconds after them, and after a minute
    at the latest; an event of a rule after what the rule says, and after ten minutes at the latest.

    Args:
        folder: events are folders in it, named by time and alarm; or the store that several cameras share.
        seconds: before and after alarms; 0 leaves alarms out.
        quota_bytes: of all events; the oldest ones go first, and an event ends where there is nothing older to go.
        before_s: seconds before an event that a rule may want.
        camera: its name, where there are several.
        by_rule: alarms that a rule records.

    Raises:
        DeviceError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path | EventStore,
        seconds: float = 5.0,
        quota_bytes: int = 500 << 20,
        *,
        before_s: float = 0.0,
        camera: str = "",
        by_rule: frozenset[str] = frozenset(),
    ) -> None:
        self._store = folder if isinstance(folder, EventStore) else EventStore(folder, quota_bytes)
        self._seconds, self._memory_s, self._camera = seconds, max(seconds, before_s), camera
        self._by_rule = by_rule
        self._ring: deque[FrameResult] = deque()
        self._ring_bytes = 0
        self._clips: dict[str, _Clip] = {}  # by the event's id; the one around alarms is ""
        self._done: deque[str] = deque(maxlen=100)  # events that filled their time or the quota

    def __enter__(self) -> "EventRecorder":
        return self

    def __exit__(self, *_: object) -> None:
        """End what goes on; each frame was written whole."""
        for name in list(self._clips):
            self._end(name)

    def write(self, result: FrameResult) -> None:
        """Take a result: into memory, and into the events that go on.

        Raises:
            DeviceError: the disk is full or gone.
        """
        now = time.monotonic()
        try:
            self._begin_what_is_new(result, now)
            self._remember(result)
            written: list[Path] = []
            for name, clip in list(self._clips.items()):
                if clip.event is not None and clip.event.ended_at is not None and clip.event.keeping is not None:
                    clip.until = clip.event.ended_at + clip.event.keeping.after_s
                if clip.event is not None and _time(result) > clip.until:
                    self._end(name)
                    continue
                filled = self._store_frame(clip, result, written)
                longest = _LONGEST_EVENT_S if clip.event is None else _LONGEST_RULE_S
                if filled or now > min(clip.until if clip.event is None else float("inf"), clip.began + longest):
                    self._end(name)
        except (OSError, DeviceError) as error:
            for name in list(self._clips):
                clip = self._clips.pop(name)
                self._store.end(clip.path)
            why = error.__cause__ if isinstance(error, DeviceError) else error
            raise DeviceError(f"cannot record in {self._store.folder}: {getattr(why, 'strerror', why)}") from error

    def _begin_what_is_new(self, result: FrameResult, now: float) -> None:
        alarms = [name for name in result.alarms if name not in self._by_rule]
        if alarms and self._seconds > 0:
            if "" not in self._clips:
                stamp = time_stamp(result.captured_at)
                name = "-".join(filter(None, (stamp, self._camera, *alarms)))
                self._begin("", _Clip(self._store.begin(name), now), _time(result) - self._seconds)
            self._clips[""].until = now + self._seconds
        for event in result.events:
            if event.keeping is not None and event.id not in self._clips and event.id not in self._done:
                clip = _Clip(self._store.begin(event.id), now, event)
                self._begin(event.id, clip, event.began_at - event.keeping.before_s)
                self._write_thumbnail(clip, result, event)

    def _begin(self, name: str, clip: _Clip, since: float) -> None:
        self._clips[name] = clip
        if clip.event is not None:
            write_about(clip.path, clip.event.to_dict())
        for kept in self._ring:
            if _time(kept) >= since - 1e-6:
                self._store_frame(clip, kept, [])

    def _write_thumbnail(self, clip: _Clip, result: FrameResult, event: Event) -> None:
        assert result.received is not None
        picture = cv2.cvtColor(result.received.picture(), cv2.COLOR_RGB2BGR)
        if event.box is not None:
            x1, y1, x2, y2 = (round(side) for side in event.box)
            cv2.rectangle(picture, (x1, y1), (x2, y2), (120, 220, 90), max(2, picture.shape[1] // 160))
        size = size_within(picture.shape[1], picture.shape[0], _THUMBNAIL_PX)
        data = cv2.imencode(".jpg", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))[1].tobytes()
        write_bytes(clip.path / THUMBNAIL, data, durable=False)
        self._store.add(clip.path, len(data))

    def _end(self, name: str) -> None:
        """Finish an event: its film, and what is known of it."""
        clip = self._clips.pop(name)
        retain_s = 0.0
        try:
            if clip.event is not None:
                self._done.append(name)
                keeping = clip.event.keeping
                retain_s = 0.0 if keeping is None else keeping.retain_s
                about = {**clip.event.to_dict(), "clip": [round(at, 3) for at in clip.times]}
                if retain_s:
                    about["retain_until"] = round(time.time() + retain_s, 3)
                write_about(clip.path, about)
                make_film(clip.path)
        except (EdgeGuardError, OSError):
            pass  # its frames are there; the next start makes the film where the disk has room
        finally:
            self._store.end(clip.path, retain_s)

    def _remember(self, result: FrameResult) -> None:
        self._ring.append(result)
        self._ring_bytes += _size(result)
        oldest = _time(result) - self._memory_s
        while self._ring and (
            _time(self._ring[0]) < oldest or len(self._ring) > _MOST_FRAMES or self._ring_bytes > _MOST_BYTES
        ):
            self._ring_bytes -= _size(self._ring.popleft())

    def _store_frame(self, clip: _Clip, result: FrameResult, written: list[Path]) -> bool:
        """Keep a frame; True where the event has filled the quota."""
        assert result.received is not None
        received, kept = result.received, "received"
        name = f"{result.frame:09d}{'.jpg' if received.png is None else '.png'}"
        data = received.jpeg or received.png
        if written:  # another event keeps this frame already
            os.link(written[0], clip.path / name)
            count, kept = 0, "received" if data is not None else "encoded"
        else:
            if data is None:
                bgr = cv2.cvtColor(received.picture(), cv2.COLOR_RGB2BGR)
                data, kept = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _RAW_QUALITY])[1].tobytes(), "encoded"
            write_bytes(clip.path / name, data, durable=False)
            written.append(clip.path / name)
            count = len(data)
        line = {**result.to_dict(), "file": name, "recorded": kept, "time": round(_time(result), 6)}
        if received.png is not None and received.room:
            line["room"] = received.room
        with open(clip.path / RESULTS, "a", encoding="utf-8") as stream:
            stream.write(unpaired_escaped(json.dumps(line, ensure_ascii=False)) + "\n")
        clip.times = [clip.times[0] if clip.times else result.captured_at, result.captured_at]
        return self._store.add(clip.path, count)


def _time(result: FrameResult) -> float:
    """Seconds on a clock that does not jump, where the run has one."""
    return result.captured_at if result.at is None else result.at


def _size(result: FrameResult) -> int:
    received = result.received
    if received is None:
        return 0
    coded = received.jpeg or received.png
    return len(coded) if coded is not None else received.rgb.nbytes if received.rgb is not None else 0
