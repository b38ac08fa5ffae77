"""HTTP Motion JPEG (multipart/x-mixed-replace, and what small cameras make of it).

A network camera is hostile input. Reading the parts ourselves keeps FFmpeg's demuxers, playlists and protocols out of
it, keeps the camera's own bytes, and makes every wait end: opening, each read, and each whole frame have a deadline.
"""

import http.client
import secrets
import time
from collections import Counter
from collections.abc import Iterator

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.http_client import HttpClient
from edgeguard.camera.lossless import from_png, is_png
from edgeguard.camera.multipart import MultipartError, MultipartReader, Part, boundary_of
from edgeguard.camera.source import Applied, Captured, FormatError, Lost
from edgeguard.errors import DeviceError, JpegError
from edgeguard.jpeg.seal import SealChecker, SealError

_CHUNK = 1 << 16
_FIRST_PICTURE_S = 2.5  # whoever has sent bytes for so long, and no picture begins in them, will never send one
_AFTER_THE_END_S = 1.0  # for what some cameras send behind a closing delimiter
_SEEN_BYTES = 48  # of the beginning, to be shown
_CLOCKS_AGREE_S, _OLDEST_S = 1.0, 60.0  # else the sensor's clock is wrong, and the time of arrival counts
_JPEG_TYPES = frozenset(("", "image/jpeg", "image/jpg", "image/pjpeg"))
_NO_STREAMS = ("application/json", "application/xml", "application/vnd.apple.mpegurl", "application/x-mpegurl")
_NO_STREAM_KINDS = ("audio/", "text/", "video/mp4", "video/mp2t", "video/x-flv", "video/webm")
NOT_PICTURES = "parts that are no JPEG"


class HttpMjpeg:
    """Frames of an MJPEG stream. A final boundary ends it; anything else that ends it is a loss.

    Args:
        url: http:// or https://, with or without user:password@ (see `http_client.HttpClient`).
        timeout_s: the longest wait for the connection and for each piece of data.
        frame_timeout_s: the longest time for the answer's head, and from one frame's start to its end (against slow
            drips).
        key: shared with an `edgeguard sensor`: frames that it did not seal for this connection, that are out of order
            or were held back, are lost (`jpeg.seal.SealChecker`).

    Attributes:
        noticed: what the stream holds that had to be passed over, and how often.

    Raises:
        InputError: not an http(s) URL.
        DeviceError: it refuses, answers with an error, or with something that is not an MJPEG stream.
    """

    live = True

    def __init__(
        self, url: str, *, timeout_s: float = 3.0, frame_timeout_s: float = 6.0, key: bytes | None = None
    ) -> None:
        nonce = "" if key is None else secrets.token_hex(16)
        self._client = HttpClient(url, timeout_s=timeout_s, head_timeout_s=frame_timeout_s)
        self.name = self._client.name
        self.applied = Applied(format="MJPG")
        self._checker = None if key is None else SealChecker(key, nonce)
        self._timeout_s, self._frame_timeout_s = timeout_s, frame_timeout_s
        accept = "multipart/x-mixed-replace, image/jpeg;q=0.5, */*;q=0.1"
        self._response = self._client.get(accept, query=f"nonce={nonce}" if nonce else "")
        try:
            self._reader = MultipartReader(self._check_answer())
        except BaseException:
            self.close()
            raise
        self._no_jpegs: Counter[str] = Counter()
        self._types: Counter[str] = Counter()
        self._beginning, self._bytes, self._shows_pictures = b"", 0, False
        self._began = time.monotonic()

    @property
    def noticed(self) -> Counter[str]:
        """What the stream holds that had to be passed over, and how often."""
        return self._reader.passed_over + self._no_jpegs + self._client.noted

    def frames(self) -> Iterator[Captured | Lost]:
        """Each part's JPEG, or a sensor's PNG, with the time of its arrival."""
        index, deadline = 0, time.monotonic() + self._frame_timeout_s
        while True:
            try:
                for part in self._reader.parts():
                    deadline = time.monotonic() + self._frame_timeout_s
                    if self._is_picture(part):
                        yield self._frame(index, part.data)
                        index += 1
            except MultipartError as error:
                raise self._no_stream(str(error)) from error
            if not self._fill(deadline):
                return

    def close(self) -> None:
        """Shut the connection down, which also wakes a thread that waits in `frames`."""
        self._client.close()

    def _is_picture(self, part: Part) -> bool:
        """A JPEG, what calls itself one, or a PNG (a sensor's; `from_png` judges it)."""
        is_frame = part.data[:2] == b"\xff\xd8" or is_png(part.data)
        self._shows_pictures |= is_frame
        if is_frame or part.content_type in _JPEG_TYPES:
            return True
        self._no_jpegs[NOT_PICTURES] += 1
        if len(self._types) < 8:
            self._types[part.content_type[:60]] += 1
        return False

    def _frame(self, index: int, data: bytes) -> Captured | Lost:
        """The frame, with the sensor's time where its clock and ours agree; one that is not proven is refused."""
        if self._checker is None:
            return _frame(index, self.name, data)
        try:
            seal = self._checker.check(data)
        except SealError as error:
            return Lost(index, self.name, str(error), error.kind)
        except JpegError as error:
            return Lost(index, self.name, str(error))
        age_s = time.time() - seal.captured_at
        if -_CLOCKS_AGREE_S <= age_s <= _OLDEST_S:
            return _frame(index, self.name, data, seal.captured_at, "source")
        return _frame(index, self.name, data)

    def _check_answer(self) -> bytes:
        """The boundary that the answer declares; empty where it declares none and may be a stream all the same."""
        content_type = self._response.getheader("Content-Type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind.startswith("multipart/"):
            return boundary_of(content_type)
        if kind == "text/html":
            raise DeviceError(f"{self.name} answers with text/html, a web page and no stream: is it the camera's page, "
                              "or its login? Its stream has a URL of its own")  # fmt: skip
        if kind.startswith("image/") and self._response.getheader("Content-Length") is not None:
            raise DeviceError(f"{self.name} answers with one still picture ({kind}): --poll 1 asks for one each second")
        no_stream = kind.startswith(_NO_STREAM_KINDS) and kind != "text/plain"
        if no_stream or kind in _NO_STREAMS:
            raise DeviceError(f"{self.name} answers with {kind}, not with an MJPEG stream (multipart/x-mixed-replace)")
        return b""

    def _fill(self, deadline: float) -> bool:
        """Read on; False at the end of the stream."""
        where = "in mid-frame" if self._reader.in_part else "between frames"
        now = time.monotonic()
        no_picture = self._bytes > 0 and not self._shows_pictures and not self._reader.in_part
        if no_picture and now - self._began > _FIRST_PICTURE_S:
            raise self._no_stream("shows no picture")
        if now >= deadline:
            raise DeviceError(f"{self.name} stalls {where}: no whole frame within {self._frame_timeout_s:g} s")
        wait_s = min(self._timeout_s, deadline - now)
        if self._reader.closing:
            wait_s = min(wait_s, _AFTER_THE_END_S)
        self._client.limit_wait(wait_s, now + wait_s if self._reader.closing else deadline)
        try:
            data = self._response.read1(_CHUNK)
        except TimeoutError as error:
            if self._reader.closing:
                return False
            raise DeviceError(f"{self.name} stalls {where}: no data for {self._timeout_s:g} s") from error
        # http.client drops its own stream, at a chunked end or when another thread closes, and then trips over that
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if self._reader.closing:
                return False
            if isinstance(error, http.client.IncompleteRead) and not self._bytes:
                raise self._no_stream("announces chunks (Transfer-Encoding) and sends none") from error
            reason = "its connection broke off" if isinstance(error, AttributeError) else error or type(error).__name__
            raise DeviceError(f"{self.name} was lost {where}: {reason}") from error
        if not data:
            return self._ended(where)
        self._beginning += data[: _SEEN_BYTES - len(self._beginning)]
        self._bytes += len(data)
        self._reader.feed(data)
        return True

    def _ended(self, where: str) -> bool:
        """The last part may be whole without a delimiter behind it; False where nothing is left."""
        if not self._reader.at_end:
            self._reader.end()
            return True
        if self._reader.closing and self._shows_pictures:
            return False
        if not self._bytes:
            raise DeviceError(f"{self.name} answers and sends nothing, not even the type of a stream")
        if not self._shows_pictures and not self._reader.in_part:
            raise self._no_stream("shows no picture")
        raise DeviceError(f"{self.name} ended {where}")

    def _no_stream(self, why: str) -> DeviceError:
        """What was seen instead of pictures; of a stream that had some, that it breaks off."""
        if self._shows_pictures:
            return DeviceError(f"{self.name} {why}")
        kind = self._response.getheader("Content-Type", "") or "no Content-Type"
        types = ", ".join(f"{count} of {name}" for name, count in self._types.items())
        seen = f"its parts are {types}" if types else f"it begins with {self._beginning!r}"
        return FormatError(f"{self.name} {why}: it answers with {kind[:120]!r}, {self._bytes} bytes so far; {seen}")


def _frame(index: int, name: str, data: bytes, at: float | None = None, clock: str = "received") -> Captured | Lost:
    reads = from_png if is_png(data) else from_jpeg
    return reads(index, name, data, at, clock)
