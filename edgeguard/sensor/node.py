"""The sensor node: a camera, pass 1 at its side, and sealed JPEGs over HTTP for those who do pass 2."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgeguard.camera import Captured, Lost, Source
from edgeguard.camera.reader import FrameReader, State
from edgeguard.dct.jpeg_encode import coded_with, encode_jpeg
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError, JpegError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.jpeg.seal import Seal, seal_jpeg
from edgeguard.preprocess.requantize import requantize_jpeg
from edgeguard.system.http import Answer, HttpServer, Request, Write

_BOUNDARY = b"edgeguard"
_MOST_CLIENTS = 8
_FRESH_S = 10.0
_NONCE = re.compile(r"([0-9a-f]{32})?")
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
        self.profile, self.key = profile, key
        self.sent = 0
        self.latest: CodedFrame | None = None
        self.changed = threading.Condition()
        self.closing = False
        self.clients = threading.BoundedSemaphore(_MOST_CLIENTS)
        self.reader = FrameReader(source, lambda captured: code(captured, profile), reopen=reopen, on_state=_log_state)
        try:
            self._server = HttpServer("frames", host, port, answer=self._answer, health=self._health, token=token)
        except BaseException:
            source.close()
            raise
        self._failure: Exception | None = None
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

    def wait(self) -> None:
        """Until the camera is lost for good.

        Raises:
            DeviceError: why.
        """
        while self._publisher.is_alive():
            self._publisher.join(1)  # a timeout lets signals through
        if self._failure is not None:
            raise self._failure

    def _publish(self) -> None:
        try:
            for frame in self.reader:
                with self.changed:
                    self.latest = frame
                    self.changed.notify_all()
        except Exception as error:
            self._failure = error

    def _answer(self, request: Request) -> Answer:
        nonce = request.query.get("nonce", "")
        if request.path != "/stream" or request.method != "GET":
            return Answer.line(404, "not found")
        if not _NONCE.fullmatch(nonce):
            return Answer.line(400, "nonce is 32 hexadecimal digits")
        if not self.clients.acquire(blocking=False):
            return Answer.line(503, "too many receivers")
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
        return Answer(200, kind=kind, stream=lambda write: self._stream(nonce, write))

    def _health(self) -> Answer:
        arrived = self.reader.arrived_at
        fresh = arrived is not None and time.monotonic() - arrived < _FRESH_S
        return Answer.line(200 if fresh else 503, f"camera {self.reader.state}")

    def _stream(self, nonce: str, write: Write) -> None:
        """From the next frame on: one that lies here is older than the receiver's nonce."""
        try:
            latest = self.latest
            number = -1 if latest is None else latest.number
            while (frame := self.after(number)) is not None:
                number = frame.number
                seal = Seal(number, round(frame.captured_at, 6), nonce, self.profile.sha256)
                jpeg = seal_jpeg(frame.jpeg, seal, self.key)
                write(b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(jpeg)))
                write(jpeg + b"\r\n")
                self.sent += 1
        finally:
            self.clients.release()


def _log_state(state: State, why: str) -> None:
    if state is State.LOST:
        _log.warning("camera lost %s", why)
    elif state is State.RUNNING:
        _log.info("camera running")
