"""The sensor node: a camera, pass 1 at its side, and sealed JPEGs over HTTP for those who do pass 2."""

import hmac
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edgeguard.camera import Captured, Lost, Source
from edgeguard.camera.reader import FrameReader, State
from edgeguard.dct.jpeg_encode import coded_with, encode_jpeg
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.jpeg.seal import Seal, seal_jpeg
from edgeguard.preprocess.requantize import requantize_jpeg
from edgeguard.system.http_server import BackgroundServer

_BOUNDARY = b"edgeguard"
_MOST_CLIENTS = 8
_SEND_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """A frame after pass 1, not sealed yet: each receiver gets a seal of its own."""

    number: int
    captured_at: float
    jpeg: bytes


def code(captured: Captured, profile: GuardProfile) -> CodedFrame | Lost:
    """Pass 1: a raw frame is coded with the profile's tables; a JPEG that has them stays as it is; any other JPEG's
    coefficients are requantised (it is coded twice then, which `firmware probe` sees)."""
    try:
        if captured.jpeg is None:
            assert captured.rgb is not None
            jpeg = encode_jpeg(captured.rgb, profile)
        elif coded_with(read_whole_jpeg(captured.jpeg), profile):
            jpeg = captured.jpeg
        else:
            jpeg = requantize_jpeg(captured.jpeg, profile)
    except JpegError as error:
        return Lost(captured.index, captured.source, str(error))
    return CodedFrame(captured.index, captured.captured_at, jpeg)


class SensorNode:
    """Serves /stream (Motion JPEG) and /healthz. Use as a context manager; the camera is kept going, and its
    losses and returns are logged.

    Args:
        source: opened.
        reopen: opens it again after a loss.
        profile: pass 1's, a `ycbcr*` one.
        host, port: where; port 0 takes a free one.
        key: of the MAC; None seals without a proof.
        token: wanted from each receiver (`?token=...` or a Bearer header), None for none.

    Raises:
        InputError: an rgb or gray profile.
        DeviceError: the address is taken.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        profile: GuardProfile,
        *,
        host: str,
        port: int,
        key: bytes | None = None,
        token: str | None = None,
    ) -> None:
        if profile.is_pixel_domain:
            raise InputError(f"a sensor sends JPEG: {profile.name or 'this'} is a {profile.color} profile, use fd-jpeg")
        self.profile, self.key, self.token = profile, key, token
        self.sent = 0
        self.latest: CodedFrame | None = None
        self.changed = threading.Condition()
        self.closing = False
        self.clients = threading.BoundedSemaphore(_MOST_CLIENTS)
        self.reader = FrameReader(source, lambda captured: code(captured, profile), reopen=reopen, on_state=_log_state)
        handler = partial(_Handler, self)
        try:
            self._server = BackgroundServer(
                lambda: ThreadingHTTPServer((host, port), handler), "frames", host=host, port=port
            )
        except DeviceError:
            source.close()
            raise
        self._publisher = threading.Thread(target=self._publish, name="edgeguard-publish", daemon=True)

    @property
    def url(self) -> str:
        """Where the stream is."""
        return f"{self._server.url}stream"

    def __enter__(self) -> "SensorNode":
        self.reader.__enter__()
        self._publisher.start()
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.reader.__exit__(None, None, None)
        self._server.__exit__(None, None, None)
        self._publisher.join(timeout=5)

    def after(self, number: int) -> CodedFrame | None:
        """The newest frame once there is one after this number; None at the end."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.closing or (self.latest is not None and self.latest.number > number), timeout=60
            )
            latest = self.latest
        return None if self.closing or latest is None or latest.number <= number else latest

    def _publish(self) -> None:
        for frame in self.reader:
            with self.changed:
                self.latest = frame
                self.changed.notify_all()


def _log_state(state: State, why: str) -> None:
    if state is State.LOST:
        _log.warning("camera lost %s", why)
    elif state is State.RUNNING:
        _log.info("camera running")


class _Handler(BaseHTTPRequestHandler):
    timeout = _SEND_TIMEOUT_S

    def __init__(self, node: SensorNode, *args: Any) -> None:
        self.node = node
        super().__init__(*args)

    def do_GET(self) -> None:  # the name that http.server calls
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        nonce = query.get("nonce", "")
        if parts.path == "/healthz":
            self._answer_health()
        elif parts.path != "/stream":
            self.send_error(404)
        elif not self._may_look(query.get("token", "")):
            self.send_error(401, "a token is wanted")
        elif nonce and not re.fullmatch(r"[0-9a-f]{32}", nonce):
            self.send_error(400, "nonce is 32 hexadecimal digits")
        elif not self.node.clients.acquire(blocking=False):
            self.send_error(503, "too many receivers")
        else:
            try:
                self._stream(nonce)
            except OSError:
                pass  # the receiver went away
            finally:
                self.node.clients.release()

    def _may_look(self, given: str) -> bool:
        token = self.node.token
        if token is None:
            return True
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return any(hmac.compare_digest(candidate.encode(), token.encode()) for candidate in (given, bearer))

    def _answer_health(self) -> None:
        arrived = self.node.reader.arrived_at
        fresh = arrived is not None and time.monotonic() - arrived < 10
        self.send_response(200 if fresh else 503)
        self.end_headers()
        self.wfile.write(f"camera {self.node.reader.state}\n".encode())

    def _stream(self, nonce: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        number = -1
        while (frame := self.node.after(number)) is not None:
            number = frame.number
            seal = Seal(number, round(frame.captured_at, 6), nonce, self.node.profile.sha256)
            jpeg = seal_jpeg(frame.jpeg, seal, self.node.key)
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(jpeg))
            self.wfile.write(head + jpeg + b"\r\n")
            self.node.sent += 1

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tokens and nonces stand in the request line."""
