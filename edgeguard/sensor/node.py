"""The sensor node: a camera, pass 1 at its side, and sealed frames over HTTP for those who do pass 2."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, Source
from edgeguard.camera.multipart import MAX_PART_BYTES
from edgeguard.camera.reader import FrameReader, State
from edgeguard.dct.jpeg_encode import coded_with, encode_jpeg
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import JpegError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.jpeg.seal import Seal, seal_jpeg, seal_png
from edgeguard.png.frame import write_png
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.preprocess.requantize import requantize_jpeg
from edgeguard.system.http import Answer, HttpServer, Request, Write

_BOUNDARY = b"edgeguard"
_MOST_CLIENTS = 8
_FRESH_S = 10.0
_NONCE = re.compile(r"([0-9a-f]{32})?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """A frame after pass 1, not sealed yet: each receiver gets a seal of its own.

    Attributes:
        number: of the frame at the camera.
        captured_at: Unix seconds.
        jpeg: of a `ycbcr*` profile.
        levels: of an `rgb` profile (h, w, 3), of a `gray` one (h, w).
    """

    number: int
    captured_at: float
    jpeg: bytes | None
    levels: NDArray[np.uint8] | None = None

    @cached_property
    def data(self) -> bytes:
        """What is sent: the JPEG, or the levels without loss. Those are coded when a receiver wants them."""
        if self.jpeg is not None:
            return self.jpeg
        assert self.levels is not None
        return write_png(self.levels)


def code(captured: Captured, profile: GuardProfile) -> CodedFrame | Lost:
    """Pass 1.

    With a `ycbcr*` profile a raw frame is coded with the profile's tables; a JPEG that has them stays as it is; any
    other JPEG's coefficients are requantised (it is coded twice then, which `firmware probe` sees). With an `rgb` or
    `gray` profile the decoded frame is sanitised, and its levels are sent as they are.
    """
    try:
        if profile.is_pixel_domain:
            levels = sanitize(captured.decode(), profile, "first")
            levels = levels[:, :, 0] if profile.color == "gray" else levels
            return CodedFrame(captured.index, captured.captured_at, None, levels)
        if captured.jpeg is None:
            jpeg = encode_jpeg(captured.decode(), profile)
        elif coded_with(read_whole_jpeg(captured.jpeg), profile):
            jpeg = captured.jpeg
        else:
            jpeg = requantize_jpeg(captured.jpeg, profile)
    except JpegError as error:
        return Lost(captured.index, captured.source, str(error))
    return CodedFrame(captured.index, captured.captured_at, jpeg)


class SensorNode:
    """Serves /stream (Motion JPEG, or as many PNGs) and /healthz. Use as a context manager; the camera is kept going,
    and its losses and returns are logged.

    Args:
        source: opened.
        reopen: opens it again after a loss.
        profile: pass 1's. Frames of a `ycbcr*` one are sent as JPEG, of others without loss as PNG.
        host, port: where; port 0 takes a free one.
        key: of the MAC; None seals without a proof.
        token: wanted from each receiver (`?token=...` or a Bearer header), None for none.

    Raises:
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
        self.profile, self.key = profile, key
        self.sent = 0
        self._coding, self._told_of_size = threading.Lock(), False
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
                data = self._sealed(frame, nonce)
                if len(data) > MAX_PART_BYTES:
                    self._tell_of_size(len(data))
                    continue
                kind = b"image/png" if frame.jpeg is None else b"image/jpeg"
                write(b"--%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, kind, len(data)))
                write(data + b"\r\n")
                self.sent += 1
        finally:
            self.clients.release()

    def _sealed(self, frame: CodedFrame, nonce: str) -> bytes:
        """For one receiver; the frame is coded once for all."""
        with self._coding:
            data = frame.data
        seal = Seal(frame.number, round(frame.captured_at, 6), nonce, self.profile.sha256, self.profile.room)
        return seal_png(data, seal, self.key) if frame.jpeg is None else seal_jpeg(data, seal, self.key)

    def _tell_of_size(self, size: int) -> None:
        if not self._told_of_size:
            self._told_of_size = True
            _log.warning(
                "frames of %.1f MB are not sent: receivers take %d MB; ask the camera for a smaller --size",
                size / 1e6, MAX_PART_BYTES / 1e6,
            )  # fmt: skip


def _log_state(state: State, why: str) -> None:
    if state is State.LOST:
        _log.warning("camera lost %s", why)
    elif state is State.RUNNING:
        _log.info("camera running")
