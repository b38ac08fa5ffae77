"""The folder of recorded events: its quota, for how long each one stays, and what of it may be read."""

import json
import logging
import math
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import DeviceError, EdgeGuardError, InputError
from edgeguard.sinks.film import write_film
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, open_regular, parsing, read_regular
from edgeguard.system.holes import bytes_of_data, may_have_holes
from edgeguard.system.leftovers import clear_all_partials, clear_folder, hold
from edgeguard.system.outputs import why_no_folder

ABOUT, FILM, THUMBNAIL, RESULTS = "event.json", "clip.mp4", "thumbnail.jpg", "results.jsonl"
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,150}")
_EVENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}\.[0-9]{3}Z(-.*)?")
_FILE = re.compile(r"clip\.mp4|thumbnail\.jpg|event\.json|results\.jsonl|[0-9]{9}\.(jpg|png)")
_MOST_LISTED = 200
_MANY = 1000  # events, beyond which a start says that it looks through them
_QUALITY = 95
_LARGEST_FRAME, _LARGEST_LINES, _LARGEST_ABOUT = 256 << 20, 256 << 20, 1 << 14  # bytes
_LARGEST_FILE = 1 << 32  # bytes: a film has less
_NUMBER, _NOTHING = (int, float), type(None)
#: What `event.json` holds beside the event's name; see `Event.to_dict`.
_OF_AN_EVENT: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("camera", "rule", "kind", "label"), (str,)), "zone": (str, _NOTHING),
    **dict.fromkeys(("schema", "frame", "began", "retain_until"), _NUMBER),
    **dict.fromkeys(("index", "score", "track", "ended"), (*_NUMBER, _NOTHING)), "recorded": (bool,),
}  # fmt: skip
_MOST_LINES, _LONGEST_LINE = 250_000, 1 << 20  # two hours of 30 frames/s; bytes
_FILMS_WITHIN_S = 5.0  # of events of killed runs, before this one begins
_TIDY_S, _LOOK_S = 60.0, 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Measured:
    """An event that this process does not write.

    Attributes:
        changed_ns: when its folder was changed.
        size: bytes of its files.
        until: when it stays, seconds since 1970.
    """

    changed_ns: int
    size: int
    until: float


class _Late(DeviceError):
    """There is no time for a film."""


class EventStore:
    """Events are folders in it, named by time, camera and rule or alarm. Safe in several threads.

    Several processes may share a folder and its quota: each looks every few seconds at what the others wrote, and
    clears no event that another one holds.

    Args:
        folder: is made where it is not there.
        quota_bytes: of all events; the oldest ones go first, those that are being written stay.

    Raises:
        DeviceError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        self.folder, self.quota_bytes = folder, quota_bytes
        self._open: dict[Path, int] = {}
        self._kept_bytes = 0
        self._held: dict[Path, int | None] = {}  # descriptors: others can tell that the event is being written
        self._known: dict[Path, _Measured] = {}
        self._made: dict[Path, tuple[int, float, float]] = {}  # place in a row, when it ended, for how long it stays
        self._asked = threading.Lock()  # what others wrote is read for one page after the other
        self._lock, self._tidied, self._looked_at = threading.RLock(), time.monotonic(), time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._finish_films()
            self.clear()
        except OSError as error:
            raise DeviceError(f"cannot record events in {folder}: {why_no_folder(folder, error)}") from error

    def _finish_films(self) -> None:
        """Films of events of runs that were killed, as far as there is time: the frames may be anybody's, and many."""
        until, left = time.monotonic() + _FILMS_WITHIN_S, 0
        events = sorted(self._events(), reverse=True)  # the newest first
        if len(events) > _MANY:
            _log.info("%s holds %d events of earlier runs, which are looked through", self.folder, len(events))
        for event in events:
            wants_film = (event / ABOUT).is_file() and not (event / FILM).is_file()  # alarms get none
            if time.monotonic() > until:
                left += wants_film
                continue
            clear_all_partials(event)
            if wants_film:
                try:
                    with parsing("the event"):  # its times may be anything
                        make_film(event, until)
                except _Late:
                    left += 1
                except (EdgeGuardError, OSError):
                    continue
        if left:
            _log.warning("%d events of earlier runs stay without a film: it would take too long", left)

    def begin(self, name: str) -> Path:
        """A new folder for an event."""
        with self._lock:
            path = self.folder / name
            path.mkdir(parents=True, exist_ok=True)
            self._open[path], self._held[path] = 0, self._held.get(path) or hold(path)
            self._known.pop(path, None)
            self._made[path] = (len(self._made), float("inf"), 0.0)
            self.clear()
            return path

    def add(self, path: Path, count: int) -> bool:
        """So many bytes were written for an event; returns whether the quota is full of what cannot be cleared."""
        with self._lock:
            self._open[path] += count
            late = time.monotonic() - self._looked_at > _LOOK_S
            if late or self._kept_bytes + sum(self._open.values()) > self.quota_bytes:
                self.clear()
            return self._kept_bytes + sum(self._open.values()) > self.quota_bytes

    def end(self, path: Path, retain_s: float = 0.0) -> None:
        """An event is written; it stays for so long, by a clock that does not jump (0: until the quota is full)."""
        with self._lock:
            self._open.pop(path, None)
            if (held := self._held.pop(path, None)) is not None:
                os.close(held)
            self._made[path] = (self._made.get(path, (0, 0.0, 0.0))[0], time.monotonic(), retain_s)
            self.clear()

    def clear(self) -> None:
        """What has stayed long enough goes, then the oldest until the rest fits the quota beside what is open."""
        with self._lock:
            self._looked_at = time.monotonic()
            written = [path for path in self._events() if path not in self._open]
            found = {path: _measured(path, self._known.get(path)) for path in written}
            self._known = {path: measured for path, measured in found.items() if measured is not None}
            total, open_bytes = sum(one.size for one in self._known.values()), sum(self._open.values())
            # what cannot be kept in any case goes first: it would take all others with it
            too_large = {path for path, one in self._known.items() if one.size > self.quota_bytes}
            for path in sorted(self._known, key=lambda one: (one not in too_large, self._age(one))):
                wanted = self._is_due(path) or total + open_bytes > self.quota_bytes
                if wanted and clear_folder(path):  # another process may be writing it
                    self._made.pop(path, None)
                    total -= self._known.pop(path).size
            self._kept_bytes = total

    def tidy(self) -> None:
        """To be called about once a second: what has stayed long enough goes within a minute."""
        now = time.monotonic()
        if now - self._tidied > _TIDY_S:
            self._tidied = now
            with suppress(OSError):  # the recorder says it
                self.clear()

    def _events(self) -> list[Path]:
        """Folders of events. Of anybody else's nothing is counted, read or cleared, nor where a link leads."""
        with os.scandir(self.folder) as entries:
            found = [(self.folder / entry.name, entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [path for path, entry in found if path in self._made or _EVENT.fullmatch(entry.name)]

    def _age(self, path: Path) -> tuple[int, int, str]:
        """Those of earlier runs by name, then ours in the order in which they were made, whatever the clock said."""
        made = self._made.get(path)
        return (0, 0, path.name) if made is None else (1, made[0], path.name)

    def _is_due(self, path: Path) -> bool:
        made = self._made.get(path)
        if made is not None:
            return made[2] > 0 and time.monotonic() - made[1] > made[2]
        return time.time() > self._known[path].until

    def events(self) -> list[dict[str, Any]]:
        """What is known of the newest events, the newest first."""
        with self._lock:
            paths = sorted(self._events(), key=self._age, reverse=True)
        with self._asked:
            return [
                {**_said(path), "id": path.name, "film": (path / FILM).is_file(),
                 "thumbnail": (path / THUMBNAIL).is_file()}
                for path in paths[:_MOST_LISTED]
            ]  # fmt: skip

    def file(self, event: str, name: str) -> Path | None:
        """A file of an event that may be read; None for anything else."""
        if not _ID.fullmatch(event) or not _FILE.fullmatch(name):
            return None
        path = self.folder / event / name
        try:
            about = path.lstat()
        except OSError:
            return None
        is_ours = stat.S_ISREG(about.st_mode) and about.st_size < _LARGEST_FILE and not path.parent.is_symlink()
        return path if is_ours else None

    def frames(self, event: str) -> list[tuple[str, float]]:
        """The frames of an event, each with its time."""
        path = self.file(event, RESULTS)
        with self._asked:
            return [] if path is None else [(line["file"], line["time"]) for line in _lines(path)]


def _measured(path: Path, known: _Measured | None) -> _Measured | None:
    """An event as it is now; None where it is gone. A frame that is added, or a film, changes its folder."""
    try:
        changed_ns = path.stat().st_mtime_ns
        if known is not None and known.changed_ns == changed_ns:
            return known
        return _Measured(changed_ns, *_size_and_end(path))
    except FileNotFoundError:  # another process cleared it
        return None


def _size_and_end(path: Path) -> tuple[int, float]:
    """Bytes of an event, and until when it stays, seconds since 1970."""
    with os.scandir(path) as entries:
        size = sum(_on_disk(Path(entry.path)) for entry in entries if entry.is_file(follow_symlinks=False))
    until = _read(path).get("retain_until")
    return size, until if isinstance(until, int | float) else math.inf


def _on_disk(path: Path) -> int:
    """Bytes that a file takes: a terabyte of holes takes none."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or not may_have_holes(about):
        return about.st_size
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError:  # may not be read, or cannot be now
        return about.st_size
    try:
        return bytes_of_data(descriptor, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def write_about(path: Path, about: dict[str, Any]) -> None:
    """What is known of an event, into its folder."""
    write_bytes(path / ABOUT, json.dumps(about).encode(), durable=False)


def make_film(path: Path, until: float = math.inf) -> None:
    """The film of an event's frames.

    Args:
        path: the event's folder.
        until: then it is given up, on the monotonic clock.

    Raises:
        DeviceError: it cannot be written, or was given up.
    """
    written = set[str]()

    def frames() -> Iterator[tuple[float, bytes]]:
        for line in _lines(path / RESULTS):
            if line["file"] in written:
                continue  # each frame once: a line that is there a thousand times would fill the disk
            written.add(line["file"])
            if time.monotonic() > until:
                raise _Late
            with suppress(OSError, InputError):
                jpeg = _as_jpeg(path / line["file"])
                yield line["time"], jpeg

    with suppress(ValueError):  # no frame came
        write_film(path / FILM, frames())


def _as_jpeg(path: Path) -> bytes:
    """A frame's own bytes; a sensor's PNG is coded, since players do not expect one."""
    if _on_disk(path) < path.lstat().st_size // 2:
        raise InputError(f"{path} has holes: no frame of ours has")
    data = read_regular(path, _LARGEST_FRAME, "the frame")
    if path.suffix == ".jpg":
        return data
    picture = cv2.cvtColor(decode_whole(data), cv2.COLOR_RGB2BGR)  # with the limits of foreign pictures
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file of results that name a frame; a killed run may have left half of one."""
    with suppress(InputError), open_regular(path, _LARGEST_LINES, "the results") as stream:
        for line in islice(_short_lines(stream), _MOST_LINES):
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                found = foreign_json(line, with_nan=True)
                name, at = str(found["file"]), float(found.get("time", found["captured_at"]))
                if _FILE.fullmatch(name) and math.isfinite(at):
                    yield {"file": name, "time": at}


def _short_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, empty where they are longer than any of ours; the file is not in memory."""
    is_rest = False
    while piece := stream.readline(_LONGEST_LINE):
        ends = piece.endswith(b"\n")
        if not is_rest:
            yield piece if ends or len(piece) < _LONGEST_LINE else b""
        is_rest = not ends


def _said(path: Path) -> dict[str, Any]:
    """What an event's file says of what events have: the page counts with it, and others may have written it."""
    found = _read(path)
    said = {key: value for key, value in found.items() if type(value) in _OF_AN_EVENT.get(key, ())}
    match found.get("clip"):
        case [int() | float() as first, int() | float() as last]:
            said["clip"] = [first, last]
    return said


def _read(path: Path) -> dict[str, Any]:
    try:
        found = foreign_json(read_regular(path / ABOUT, _LARGEST_ABOUT, "the event"))
        return found if isinstance(found, dict) else {}
    except (InputError, ValueError, RecursionError):
        return {}
