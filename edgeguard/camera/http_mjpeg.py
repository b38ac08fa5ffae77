"""HTTP Motion JPEG (multipart/x-mixed-replace), read with the standard library.

A network camera is hostile input. Reading the parts ourselves keeps FFmpeg's demuxers, playlists and protocols out of
it, keeps the camera's own bytes, and makes every wait end: opening, each read, and each whole frame have a deadline.
"""

import base64
import contextlib
import http.client
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlunsplit

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.lossless import from_png, is_png
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.urls import split_url, without_credentials
from edgeguard.errors import DeviceError, JpegError
from edgeguard.jpeg.seal import SealChecker

MAX_FRAME_BYTES = 16 << 20
_MAX_HEADER_BYTES = 8192
_CHUNK = 1 << 16
_CLOCKS_AGREE_S, _OLDEST_S = 1.0, 60.0  # else the sensor's clock is wrong, and the time of arrival counts


class HttpMjpeg:
    """Frames of an MJPEG stream. A final boundary ends it; anything else that ends it is a loss.

    Args:
        url: http:// or https://, with or without user:password@ (sent as Basic, never shown).
        timeout_s: the longest wait for the connection and for each piece of data.
        frame_timeout_s: the longest time for the answer's head, and from one frame's start to its end (against slow
            drips).
        key: shared with an `edgeguard sensor`: frames that it did not seal for this connection, that are out of order
            or were held back, are lost (`jpeg.seal.SealChecker`).

    Raises:
        InputError: not an http(s) URL.
        DeviceError: it refuses, answers with an error, or with something that is not an MJPEG stream.
    """

    live = True

    def __init__(
        self, url: str, *, timeout_s: float = 3.0, frame_timeout_s: float = 6.0, key: bytes | None = None
    ) -> None:
        parts = split_url(url, ("http", "https"))
        self.name = without_credentials(parts)
        self.applied = Applied(format="MJPG")
        nonce = "" if key is None else secrets.token_hex(16)
        self._checker = None if key is None else SealChecker(key, nonce)
        self._timeout_s, self._frame_timeout_s = timeout_s, frame_timeout_s
        self._connection = _connection(parts, timeout_s)
        self._late = False
        late = threading.Timer(frame_timeout_s, self._give_up)  # each byte of a head may be in time, and the whole late
        late.daemon = True
        late.start()
        try:
            self._response = self._open(parts, nonce)
            self._boundary = self._check_answer()
        except BaseException as error:
            self.close()  # now, and not when the garbage is collected
            if self._late:
                raise DeviceError(f"{self.name} does not answer within {frame_timeout_s:g} s") from error
            raise
        finally:
            late.cancel()
        self._buffer = b""

    def frames(self) -> Iterator[Captured | Lost]:
        """Each part's JPEG, or a sensor's PNG, with the time of its arrival."""
        index = 0
        while True:
            deadline = time.monotonic() + self._frame_timeout_s
            headers = self._next_part(deadline)
            if headers is None:
                return
            data = self._read_body(headers, deadline)
            checker = self._checker
            yield _frame(index, self.name, data) if checker is None else self._proven(index, data, checker)
            index += 1

    def _proven(self, index: int, data: bytes, checker: SealChecker) -> Captured | Lost:
        """A frame with the sensor's time, where the two clocks agree; one that is not proven is lost."""
        try:
            seal = checker.check(data)
        except JpegError as error:
            return Lost(index, self.name, str(error))
        age_s = time.time() - seal.captured_at
        if -_CLOCKS_AGREE_S <= age_s <= _OLDEST_S:
            return _frame(index, self.name, data, seal.captured_at, "source")
        return _frame(index, self.name, data)

    def close(self) -> None:
        """Shut the connection down, which also wakes a thread that waits in `frames`."""
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _give_up(self) -> None:
        self._late = True
        self.close()

    def _open(self, parts: SplitResult, nonce: str) -> http.client.HTTPResponse:
        query = "&".join(part for part in (parts.query, f"nonce={nonce}" if nonce else "") if part)
        path = urlunsplit(("", "", parts.path or "/", query, ""))
        headers = {"User-Agent": "edgeguard", "Accept": "multipart/x-mixed-replace"}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        try:
            self._connect(parts)
            self._connection.request("GET", path, headers=headers)
            return self._connection.getresponse()
        except TimeoutError as error:
            raise DeviceError(f"{self.name} does not answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DeviceError(f"{self.name} cannot be reached: {reason}") from error

    def _connect(self, parts: SplitResult) -> None:
        """A socket that `close` can end at any moment, a TLS handshake included."""
        connection = self._connection
        connection.sock = sock = socket.create_connection((connection.host, connection.port), self._timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            secured = context.wrap_socket(sock, server_hostname=connection.host, do_handshake_on_connect=False)
            connection.sock = secured
            secured.do_handshake()

    def _check_answer(self) -> bytes:
        response = self._response
        if response.status != 200:
            raise DeviceError(f"{self.name} answers {response.status} {response.reason}")
        content_type = response.getheader("Content-Type", "")
        match = re.search(r'boundary="?([^";,\s]{1,200})"?', content_type)
        if not content_type.lower().startswith("multipart/x-mixed-replace") or match is None:
            kind = content_type.split(";")[0].strip() or "nothing that names its type"
            raise DeviceError(f"{self.name} answers with {kind}, not with an MJPEG stream (multipart/x-mixed-replace)")
        return b"--" + match[1].encode("latin-1", "replace").removeprefix(b"--")

    def _next_part(self, deadline: float) -> dict[str, str] | None:
        """Skip to the next boundary and read the part's headers; None at the closing boundary."""
        while True:
            line = self._read_line(deadline)
            if line.startswith(self._boundary):
                if line[len(self._boundary) :].startswith(b"--"):
                    return None
                break
            if line.strip():
                raise DeviceError(f"{self.name} sends something else than parts of its stream")
        headers: dict[str, str] = {}
        while line := self._read_line(deadline).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > 64:
                raise DeviceError(f"{self.name} sends more than 64 headers with a frame")
        return headers

    def _read_body(self, headers: dict[str, str], deadline: float) -> bytes:
        length = headers.get("content-length", "")
        if length.isdecimal():
            if len(length) > 12 or int(length) > MAX_FRAME_BYTES:  # Python refuses to convert thousands of digits
                raise DeviceError(f"{self.name} announces a frame of {length[:20]} bytes, more than {MAX_FRAME_BYTES}")
            while len(self._buffer) < int(length):
                self._fill(deadline, "in mid-frame")
            return self._take(int(length))
        mark, searched = b"\r\n" + self._boundary, 0
        while (found := self._buffer.find(mark, searched)) < 0:
            searched = max(len(self._buffer) - len(mark), 0)
            if len(self._buffer) > MAX_FRAME_BYTES:
                raise DeviceError(f"{self.name} sends a frame of more than {MAX_FRAME_BYTES} bytes")
            self._fill(deadline, "in mid-frame")
        return self._take(found)

    def _read_line(self, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MAX_HEADER_BYTES:
                raise DeviceError(f"{self.name} sends something else than parts of its stream")
            self._fill(deadline, "between frames")
        return self._take(end + 1)

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self, deadline: float, where: str) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeviceError(f"{self.name} stalls {where}: no whole frame within {self._frame_timeout_s:g} s")
        sock = self._connection.sock
        if sock is not None:
            sock.settimeout(min(self._timeout_s, remaining))
        try:
            data = self._response.read1(_CHUNK)
        except TimeoutError as error:
            raise DeviceError(f"{self.name} stalls {where}: no data for {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeviceError(f"{self.name} was lost {where}: {error or type(error).__name__}") from error
        if not data:
            raise DeviceError(f"{self.name} ended {where}")
        self._buffer += data


def _frame(index: int, name: str, data: bytes, at: float | None = None, clock: str = "received") -> Captured | Lost:
    reads = from_png if is_png(data) else from_jpeg
    return reads(index, name, data, at, clock)


def _connection(parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
