"""The event recorder: source frames around an alarm, on a disk budget."""

import json
import shutil
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult, unpaired_escaped
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_all_partials

_RAW_QUALITY = 95
_LONGEST_EVENT_S = 60.0
_MOST_FRAMES = 3000  # that wait in memory, whatever the seconds say
_MOST_BYTES = 64 << 20


class EventRecorder:
    """Keeps the last seconds in memory; an alarm writes them, and what follows, into a folder of its own.

    A frame that came as JPEG, or as a sensor's PNG, is kept byte for byte. A raw one is coded at quality 95 with the
    camera's levels, and its line says so (`"recorded": "encoded"`). The levels of a PNG keep the room of pass 1: its
    line says which (`"room": 16`), and its seal does. An event ends some seconds after its alarms, and after a minute
    at the latest.

    Args:
        folder: events are folders in it, named by time and alarm.
        seconds: before and after.
        quota_bytes: of all events; the oldest ones go first, and an event that fills it alone ends.

    Raises:
        DeviceError: the folder cannot be made.
    """

    def __init__(self, folder: Path, seconds: float = 5.0, quota_bytes: int = 500 << 20) -> None:
        self._folder, self._seconds, self._quota_bytes = folder, seconds, quota_bytes
        self._ring: deque[FrameResult] = deque()
        self._ring_bytes = 0
        self._event: Path | None = None
        self._began = self._until = 0.0
        self._kept_bytes = self._event_bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for event in [path for path in folder.iterdir() if path.is_dir()]:
                clear_all_partials(event)  # of a run that was killed
            self._clear_old()
        except OSError as error:
            raise DeviceError(f"cannot record events in {folder}: {error.strerror}") from error

    def __enter__(self) -> "EventRecorder":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open: each frame is written whole."""

    def write(self, result: FrameResult) -> None:
        """Take a result: into memory, or into the event that goes on.

        Raises:
            DeviceError: the disk is full or gone.
        """
        now = time.monotonic()
        try:
            if result.alarms:
                if self._event is None:
                    self._begin(result, now)
                self._until = now + self._seconds
            if self._event is None:
                self._remember(result)
                return
            self._store(result)
            if now > min(self._until, self._began + _LONGEST_EVENT_S) or self._event_bytes > self._quota_bytes:
                self._event = None
        except (OSError, DeviceError) as error:
            self._event = None
            why = error.__cause__ if isinstance(error, DeviceError) else error
            raise DeviceError(f"cannot record in {self._folder}: {getattr(why, 'strerror', why)}") from error

    def _begin(self, result: FrameResult, now: float) -> None:
        stamp = _stamp(result.captured_at)
        self._event, self._began = self._folder / f"{stamp}-{'-'.join(result.alarms)}", now
        self._event.mkdir(parents=True, exist_ok=True)
        self._event_bytes = 0
        self._clear_old()
        while self._ring:
            self._store(self._ring.popleft())
        self._ring_bytes = 0

    def _remember(self, result: FrameResult) -> None:
        self._ring.append(result)
        self._ring_bytes += _size(result)
        oldest = result.captured_at - self._seconds
        while self._ring and (
            self._ring[0].captured_at < oldest or len(self._ring) > _MOST_FRAMES or self._ring_bytes > _MOST_BYTES
        ):
            self._ring_bytes -= _size(self._ring.popleft())

    def _store(self, result: FrameResult) -> None:
        assert self._event is not None and result.received is not None
        received, kept = result.received, "received"
        data = received.jpeg or received.png
        if data is None:
            bgr = np.ascontiguousarray(received.picture()[:, :, ::-1])
            data, kept = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _RAW_QUALITY])[1].tobytes(), "encoded"
        name = f"{result.frame:09d}{'.jpg' if received.png is None else '.png'}"
        write_bytes(self._event / name, data, durable=False)
        self._event_bytes += len(data)
        if self._kept_bytes + self._event_bytes > self._quota_bytes:
            self._clear_old()
        line = {**result.to_dict(), "file": name, "recorded": kept}
        if received.png is not None and received.room:
            line["room"] = received.room
        with open(self._event / "results.jsonl", "a", encoding="utf-8") as stream:
            stream.write(unpaired_escaped(json.dumps(line, ensure_ascii=False)) + "\n")

    def _clear_old(self) -> None:
        """The oldest events go until the rest fits the quota beside the one that goes on, which stays."""
        events = sorted(path for path in self._folder.iterdir() if path.is_dir() and path != self._event)
        sizes = {path: sum(f.stat().st_size for f in path.iterdir() if f.is_file()) for path in events}
        total = sum(sizes.values())
        for path in events:
            if total + self._event_bytes <= self._quota_bytes:
                break
            shutil.rmtree(path)
            total -= sizes[path]
        self._kept_bytes = total


def _stamp(captured_at: float) -> str:
    """The time for a folder's name; a film may say one that no calendar has, and then it is the clock's."""
    try:
        time_of = datetime.fromtimestamp(captured_at, UTC)
    except (ValueError, OverflowError, OSError):
        time_of = datetime.now(UTC)
    return time_of.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z"


def _size(result: FrameResult) -> int:
    received = result.received
    if received is None:
        return 0
    coded = received.jpeg or received.png
    return len(coded) if coded is not None else received.rgb.nbytes if received.rgb is not None else 0
