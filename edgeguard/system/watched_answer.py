"""An HTTP answer of somebody who may never end it: a look at the clock before each piece that is taken of it.

The standard library reads heads, answers of status 100, sizes of chunks and the lines behind the last chunk for as long
as they come. The timeout of a connection holds for one piece only, so that a byte every few seconds is in time.
"""

import http.client
import io
import socket
from collections.abc import Callable
from typing import Any, Literal

#: Is called with the connection before each piece; sets how long the piece may take, or raises `TimeoutError`.
BeforeRead = Callable[[socket.socket], None]


class Watched(io.RawIOBase):
    """The bytes that a connection gives.

    Args:
        sock: the connection.
        before_read: see `BeforeRead`.
    """

    def __init__(self, sock: socket.socket, before_read: BeforeRead) -> None:
        self._sock, self._before_read = sock, before_read
        self._raw: io.RawIOBase = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, into: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffers of its callers
        """A piece, once `before_read` lets it come."""
        self._before_read(self._sock)
        return self._raw.readinto(into) or 0

    def close(self) -> None:
        """Close the file; the connection is its owner's."""
        self._raw.close()
        super().close()


class _Answering:
    """What `HTTPResponse` wants of a connection: a file to read from."""

    def __init__(self, sock: socket.socket, before_read: BeforeRead) -> None:
        self._sock, self._before_read = sock, before_read

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(Watched(self._sock, self._before_read))


def watched_response(before_read: BeforeRead) -> type[http.client.HTTPResponse]:
    """The `response_class` of a connection of `http.client` whose answers are read so, wherever the library does it."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(_Answering(sock, before_read), *args, **options)  # type: ignore[arg-type]  # all it wants is makefile

    return Response
