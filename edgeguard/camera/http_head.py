"""The head of a camera's answer, put right before the standard library reads it.

`http.client` takes a head that is one. Small cameras leave out the status line or write another word there, begin with
a blank line, put a space before a colon, or write a line that is no header: the library then refuses the answer, or
stops reading headers without a word, so that the type of the stream or the way to log in is lost.
"""

import http.client
import io
import re
import socket
from collections import Counter
from collections.abc import Callable
from typing import Literal

#: What was put right, by the names under which it is counted.
NO_STATUS, NO_HEADER = "answers without a status line", "lines of the answer's head that are no headers"
_CHUNK = 4096
_MOST_BYTES = 1 << 17  # the library refuses longer heads in its own words
_STATUS = re.compile(rb"(?:HTTP(?:/[0-9.]*)?|ICY)[ \t]+([0-9]{3})[ \t]*(.*)", re.IGNORECASE)
_NEARLY_STATUS = re.compile(rb"(HTTP/1\.[01])[ \t]+([0-9]{3})([^0-9 \t].*)")
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_BODY_AT_ONCE = (b"--", b"\xff\xd8\xff")
_BLANK = b"\r\n \t"


def read_answer(
    sock: socket.socket, noted: Counter[str], before_read: Callable[[], None] = lambda: None
) -> http.client.HTTPResponse:
    """The answer to a GET on this connection, with its head read and put right.

    Args:
        sock: connected; the request was sent.
        noted: gets what had to be put right, and how often.
        before_read: called before each piece is taken from the connection, of the body too, wherever the library reads
            it (the sizes of chunks and the lines behind the last one come in as many pieces as the camera likes).

    Raises:
        OSError, http.client.HTTPException, ValueError: as `HTTPResponse.begin` raises them.
    """
    response = http.client.HTTPResponse(_Answering(sock, noted, before_read), method="GET")  # type: ignore[arg-type]  # all it wants is makefile
    response.begin()
    return response


class _Answering:
    """What `HTTPResponse` wants of a socket: a file to read from."""

    def __init__(self, sock: socket.socket, noted: Counter[str], before_read: Callable[[], None]) -> None:
        self._sock, self._noted, self._before_read = sock, noted, before_read

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(_Mended(_Received(self._sock, self._before_read), self._noted))


class _Received(io.RawIOBase):
    """The bytes that a connection gives, which does not stay open for them.

    A file that the socket makes would keep it open until the answer is forgotten: a camera with one seat then writes
    to a reader who has gone, and lets nobody else in.
    """

    def __init__(self, sock: socket.socket, before_read: Callable[[], None]) -> None:
        self._sock, self._before_read = sock, before_read

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffers of its callers
        self._before_read()
        return self._sock.recv_into(into)


class _Mended(io.RawIOBase):
    """The bytes of an answer, its head put right."""

    def __init__(self, raw: _Received, noted: Counter[str]) -> None:
        self._raw, self._noted = raw, noted
        self._pending: memoryview | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffers of its one caller
        if self._pending is None:
            self._pending = memoryview(self._read_head())
        if self._pending:
            count = min(len(into), len(self._pending))
            into[:count] = self._pending[:count]
            self._pending = self._pending[count:]
            return count
        return self._raw.readinto(into)

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _read_head(self) -> bytes:
        """The head as it should be, and what has arrived behind it."""
        data = b""
        while len(data) < _MOST_BYTES:
            data = data.lstrip(_BLANK)
            if data.startswith(_BODY_AT_ONCE):
                self._noted[NO_STATUS] += 1
                return b"HTTP/1.0 200 OK\r\n\r\n" + data
            end = re.search(rb"\r?\n\r?\n", data)
            if end is not None:
                return mended_head(data[: end.start()], self._noted) + data[end.end() :]
            piece = self._raw.read(_CHUNK)
            if not piece:
                break
            data += piece
        return data


def mended_head(head: bytes, noted: Counter[str]) -> bytes:
    r"""A head up to and with its blank line, as `http.client` wants it.

    A length beside a multipart type is left out: a stream has none, and what some cameras write there is that of the
    first picture, or 0.

    Example:
        >>> mended_head(b"ICY 200 OK\nContent-Type : image/jpeg\nTue, 12 Jun", Counter())
        b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n'
    """
    first, *lines = re.split(rb"\r?\n", head)
    status = _STATUS.fullmatch(first) or _NEARLY_STATUS.fullmatch(first)
    if status is None and not _HEADER.fullmatch(first):
        return head + b"\r\n\r\n"  # no HTTP: the library says what it is
    if status is None:
        noted[NO_STATUS] += 1
        first, lines = b"HTTP/1.1 200 OK", [first, *lines]
    else:
        code, reason = status.groups()[-2:]
        first = b"HTTP/1.1 %s %s" % (code, reason.strip())
    kept: list[tuple[bytes, bytes]] = []
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is not None:
            kept.append((found[1], found[2]))
        elif line[:1] in (b" ", b"\t") and kept:  # the last header goes on
            kept[-1] = kept[-1][0], kept[-1][1] + b" " + line.strip()
        else:
            noted[NO_HEADER] += 1
    if any(name.lower() == b"content-type" and b"multipart/" in value.lower() for name, value in kept):
        kept = [pair for pair in kept if pair[0].lower() != b"content-length"]
    return b"\r\n".join([first, *(name + b": " + value.strip() for name, value in kept)]) + b"\r\n\r\n"
