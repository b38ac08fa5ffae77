"""A URL that gives one picture, asked for again and again: what many cameras have instead of a stream."""

import http.client
import threading
import time
from collections.abc import Iterator

from edgeguard.camera.files import from_image
from edgeguard.camera.http_client import HttpClient
from edgeguard.camera.multipart import MAX_PART_BYTES
from edgeguard.camera.source import Applied, Captured, Lost, Unchanged
from edgeguard.errors import DeviceError

_CHUNK = 1 << 16
_PICTURES = ("image/", "application/octet-stream", "binary/")
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM")  # of pictures, whatever their type says


class HttpStill:
    """Frames of a still picture's URL. A picture that did not change is no new frame, and no loss.

    Args:
        url: http:// or https://, with or without user:password@.
        poll_s: seconds from the beginning of one request to that of the next.
        timeout_s: the longest wait for the connection and for each piece of data.
        frame_timeout_s: the longest time for an answer's head, and for its picture.

    Raises:
        InputError: not an http(s) URL.
        DeviceError: it refuses, answers with an error, or with something that is no picture.
    """

    live = True

    def __init__(self, url: str, poll_s: float, *, timeout_s: float = 3.0, frame_timeout_s: float = 6.0) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s, head_timeout_s=frame_timeout_s)
        self.name = self._client.name
        self._poll_s, self._timeout_s, self._frame_timeout_s = poll_s, timeout_s, frame_timeout_s
        self._closed = threading.Event()
        self._same: dict[str, str] = {}
        self._last = b""
        self._asked_at = time.monotonic()
        self._first = self._ask()
        self.applied = Applied(format="still picture", fps=1 / poll_s)

    def frames(self) -> Iterator[Captured | Lost | Unchanged]:
        """A frame for each picture that is another one; a request that fails is a loss."""
        index, data = 0, self._first
        while not self._closed.is_set():
            if data is None or data == self._last:
                yield Unchanged(self.name)
            else:
                self._last = data
                yield from_image(index, self.name, data)
                index += 1
            self._closed.wait(max(self._asked_at + self._poll_s - time.monotonic(), 0))
            if self._closed.is_set():
                return
            self._asked_at = time.monotonic()
            data = self._ask()

    def close(self) -> None:
        """End it; wakes a thread that waits in `frames`."""
        self._closed.set()
        self._client.close()

    def _ask(self) -> bytes | None:
        """The picture's bytes; None where the camera says that it is the last one."""
        response = self._client.get("image/jpeg, image/*;q=0.5", headers=self._same)
        try:
            if response.status == 304:
                return None
            data = self._read(response, self._wrong_type(response))
        finally:
            self._client.end()
        tags = {"If-None-Match": response.getheader("ETag"), "If-Modified-Since": response.getheader("Last-Modified")}
        self._same = {name: value for name, value in tags.items() if value is not None}
        return data

    def _wrong_type(self, response: http.client.HTTPResponse) -> str:
        """What to say where the type is no picture's and the bytes are none either; empty for a picture's type."""
        kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("multipart/"):
            return f"{self.name} answers with a stream ({kind}), not with a still picture: leave out --poll"
        if kind == "text/html":
            return (
                f"{self.name} answers with text/html, a web page: is it the camera's page, or its login? Its picture "
                "has a URL of its own"
            )
        if kind and not kind.startswith(_PICTURES):
            return f"{self.name} answers with {kind[:60]}, not with a picture"
        return ""

    def _read(self, response: http.client.HTTPResponse, wrong_type: str) -> bytes:
        """The whole body; what breaks off is given as far as it came, and judged as a damaged picture."""
        deadline, data = time.monotonic() + self._frame_timeout_s, bytearray()
        self._client.limit_wait(self._timeout_s, deadline)
        while True:
            try:
                piece = response.read1(_CHUNK)
            except TimeoutError as error:
                if time.monotonic() >= deadline:
                    raise DeviceError(
                        wrong_type or f"{self.name} stalls: no whole picture within {self._frame_timeout_s:g} s"
                    ) from error
                raise DeviceError(wrong_type or f"{self.name} stalls: no data for {self._timeout_s:g} s") from error
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                if self._client.closed or not data:
                    raise DeviceError(f"{self.name} was lost in its picture") from error
                return bytes(data)
            if not piece and self._client.closed:  # the end is ours
                raise DeviceError(f"{self.name} was lost in its picture")
            data += piece
            if wrong_type and not _may_be_picture(data, at_end=not piece):
                raise DeviceError(wrong_type)
            if not piece:
                return bytes(data)
            if len(data) > MAX_PART_BYTES:
                raise DeviceError(f"{self.name} sends a picture of more than {MAX_PART_BYTES} bytes")


def _may_be_picture(data: bytearray, at_end: bool) -> bool:
    return any(data.startswith(one) or (not at_end and one.startswith(bytes(data))) for one in _BEGINNINGS)
