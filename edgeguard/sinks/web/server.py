"""The page of a run: what it serves; loopback, or a token."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.pipeline.status import RunStatus, by_camera
from edgeguard.reporting.served import page_files
from edgeguard.sinks.event_store import EventStore
from edgeguard.sinks.health import run_health
from edgeguard.sinks.web.pictures import Pictures, mask_to_dict
from edgeguard.system.addresses import is_loopback
from edgeguard.system.foreign import read_regular
from edgeguard.system.http import Answer, HttpServer, Request, Write
from edgeguard.system.http.budget import CpuBudget

_MOST_STREAMS, _STREAM_SHARE = 8, 0.15  # of one core
_FASTEST, _USUAL = 30.0, 10.0  # frames a second of a stream
_LOOK_S, _ALIVE_S = 0.03, 5.0
_CHUNK, _AT_ONCE = 1 << 18, 16 << 20  # bytes of a file that are sent piece by piece, and as a whole
_KINDS = {"jpg": "image/jpeg", "png": "image/png", "mp4": "video/mp4", "json": "application/json"}


class WebPage(HttpServer):
    """Serves the page, its data and pictures, snapshots, streams, events and /healthz. Use as a context manager.

    Args:
        host, port: where; port 0 takes a free one.
        status: what the run is doing; of several cameras by their names.
        stale_after_s: /healthz answers 503 when no result came for so long.
        token: wanted from everybody (once as `/?token=...`, or as a Bearer header) except of /healthz.
        store: of recorded events.

    Raises:
        InputError: another address than loopback without a token.
        DeviceError: the address is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        status: RunStatus | Mapping[str, RunStatus],
        stale_after_s: float,
        token: str | None,
        store: EventStore | None = None,
    ) -> None:
        if token is None and not is_loopback(host):
            raise InputError(f"--web {host}:{port} can be reached from outside: give --web-token-file")
        self._cameras, self._store = by_camera(status), store
        self._pictures = {name: Pictures(one) for name, one in self._cameras.items()}
        self._files = page_files("run", "EdgeGuard")
        self._films = threading.Semaphore(_MOST_STREAMS)
        self._streams, self._budget = threading.Semaphore(_MOST_STREAMS), CpuBudget(_STREAM_SHARE, 0.5)
        super().__init__(
            "the page", host, port, answer=self._page, health=lambda: run_health(status, stale_after_s), token=token
        )

    def _page(self, request: Request) -> Answer:
        if request.path in self._files:
            return Answer(200, *self._files[request.path])
        if request.path == "/cameras.json":
            return Answer.json([self._tile(name) for name in self._cameras])
        if request.path == "/events.json":
            return Answer.json(self._events())
        if request.path.startswith("/events/"):
            return self._event_file(request.path.removeprefix("/events/"))
        name = request.query.get("camera", next(iter(self._cameras)))
        if name not in self._cameras:
            return Answer.line(404, "no such camera")
        return self._of_camera(request, self._cameras[name], self._pictures[name])

    def _of_camera(self, request: Request, status: RunStatus, pictures: Pictures) -> Answer:
        if request.path == "/state.json":
            last = pictures.tell()
            return Answer.json({**status.to_dict(last), "mask": mask_to_dict(last)})
        if request.path == "/history.json":
            return Answer.json(status.minutes.to_list())
        if request.path in ("/raw.jpg", "/sanitized.jpg", "/mask.png"):
            return self._picture(request, pictures)
        if request.path in ("/snapshot.jpg", "/stream.mjpg"):
            return self._snapshot(request, status, pictures)
        return Answer.line(404, "not found")

    def _picture(self, request: Request, pictures: Pictures) -> Answer:
        text = request.query.get("frame", "")
        frame = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
        if request.path == "/mask.png":
            data, kind = pictures.mask(frame), "image/png"
        else:
            make = pictures.raw if request.path == "/raw.jpg" else pictures.sanitized
            data, kind = make(frame), "image/jpeg"
        return Answer(200, data, kind) if data else Answer.line(404, "no such frame (any more)")

    def _tile(self, name: str) -> dict[str, Any]:
        status = self._cameras[name]
        last = status.last
        return {
            "camera": name, "source": status.source, "state": str(status.state), "reason": status.reason,
            "shows_now": status.shows_now, "ringing": status.ringing, "frame": None if last is None else last.frame,
            "label": None if last is None else last.prediction.label,
            "objects": {} if last is None else last.prediction.counts(),
            "going_on": [event.rule for event in status.events.going_on(name)],
        }  # fmt: skip

    def _events(self) -> list[dict[str, Any]]:
        """Events of this run and those that are kept of earlier ones, the newest first."""
        known = {event["id"]: event for event in next(iter(self._cameras.values())).events.newest()}
        for kept in self._store.events() if self._store is not None else ():
            known[kept["id"]] = {**kept, **known.get(kept["id"], {})}
        return sorted(known.values(), key=lambda event: str(event["id"]), reverse=True)[:200]

    def _event_file(self, rest: str) -> Answer:
        event, _, name = rest.partition("/")
        if self._store is None:
            return Answer.line(404, "nothing is recorded")
        if name == "frames.json":
            return Answer.json(self._store.frames(event))
        path = self._store.file(event, name)
        if path is None:
            return Answer.line(404, "no such event (any more)")
        kind = _KINDS.get(path.suffix.lstrip("."), "text/plain; charset=utf-8")
        try:
            size = path.stat().st_size
            if path.suffix != ".mp4" and size <= _AT_ONCE:
                return Answer(200, read_regular(path, _AT_ONCE, "the event"), kind)
        except (OSError, InputError):
            return Answer.line(404, "no such event (any more)")

        if not self._films.acquire(blocking=False):
            return Answer.line(503, f"{_MOST_STREAMS} films are on their way: no more")

        def send(write: Write) -> None:
            try:
                self._send_file(write, path, size)
            finally:
                self._films.release()

        headers = {"Content-Length": str(size)}
        if path.suffix == ".mp4":
            headers["Content-Disposition"] = f'attachment; filename="{event}.mp4"'
        return Answer(200, kind=kind, headers=headers, stream=send)

    def _send_file(self, write: Write, path: Path, left: int) -> None:
        """As many bytes as were announced, however the file grows meanwhile."""
        with open(path, "rb") as stream:
            while left > 0:
                self._budget.wait()
                began = time.thread_time()
                data = stream.read(min(_CHUNK, left))
                if not data:
                    return
                write(data)
                left -= len(data)
                self._budget.spend(time.thread_time() - began)

    def _snapshot(self, request: Request, status: RunStatus, pictures: Pictures) -> Answer:
        make = pictures.annotated if request.query.get("annotated", "0") not in ("0", "") else pictures.raw
        if request.path == "/snapshot.jpg":
            data = make() if status.shows_now else b""
            return Answer(200, data, "image/jpeg") if data else Answer.line(503, "there is no picture of now")
        try:
            fps = float(request.query.get("fps", _USUAL))
        except ValueError:
            fps = math.nan
        if math.isnan(fps):
            return Answer.line(400, "fps wants a number")
        fps = min(max(fps, 0.1), _FASTEST)
        kind = "multipart/x-mixed-replace; boundary=edgeguard"
        if request.method == "HEAD":
            return Answer(200, kind=kind)
        if not self._streams.acquire(blocking=False):
            return Answer.line(503, f"{_MOST_STREAMS} streams are open: no more")

        def send(write: Write) -> None:
            try:
                self._send_frames(write, status, make, 1 / fps)
            finally:
                self._streams.release()

        return Answer(200, kind=kind, stream=send)

    def _send_frames(self, write: Write, status: RunStatus, make: Callable[[], bytes], every_s: float) -> None:
        """New frames only: while a camera gives none, nothing is shown as of now."""
        sent, due, wrote_at = -1, 0.0, time.monotonic()
        while not self._closing:
            last, now = status.last, time.monotonic()
            if last is None or last.frame == sent or now < due or not status.shows_now:
                if now - wrote_at > _ALIVE_S:  # whoever went away is noticed
                    write(b"\r\n")
                    wrote_at = now
                time.sleep(_LOOK_S)
                continue
            self._budget.wait()
            began = time.thread_time()
            sent, due, wrote_at = last.frame, now + every_s, now
            if data := make():
                head = f"--edgeguard\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                write(head.encode() + data + b"\r\n")
            self._budget.spend(time.thread_time() - began)
