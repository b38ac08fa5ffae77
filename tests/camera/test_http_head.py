"""Heads of answers as small cameras write them, each from a real server: the stream comes, and so does the login."""

import base64
import socket
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from camera.streams import answer, http_server
from numpy.typing import NDArray

from edgeguard.camera import Captured
from edgeguard.camera.http_head import NO_HEADER, NO_STATUS, mended_head
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.http_still import HttpStill
from edgeguard.camera.source import FormatError
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, encode_jpeg

STATUS, TYPE = b"HTTP/1.1 200 OK\r\n", b"Content-Type: multipart/x-mixed-replace; boundary=x\r\n"


@pytest.fixture(scope="module")
def jpeg(scene: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(np.ascontiguousarray(scene[:96, :80]), GuardProfile.preset("jpeg:80"))


def _stream(jpeg: bytes) -> bytes:
    part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
    return 3 * part + b"--x--\r\n"


def _chunked(data: bytes) -> bytes:
    pieces = [data[start : start + 500] for start in range(0, len(data), 500)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _sent(data: bytes, piece: int) -> Callable[[socket.socket, bytes], None]:
    def handle(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, 600, piece):
            connection.sendall(data[start : min(start + piece, 600)])
        connection.sendall(data[600:])
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(2)
        connection.recv(1)  # until the client has closed

    return handle


HEADS = {
    "a date without a name (GoAhead)": (
        STATUS + b"Server: GoaHead\r\nTue, 12 Jun 2012 01:56:34 GMT\r\n" + TYPE,
        NO_HEADER,
    ),
    "a line that is none, then chunks": (
        STATUS + b"Server x\r\n" + TYPE + b"Transfer-Encoding: chunked\r\n",
        NO_HEADER,
    ),
    "a space before the colon": (STATUS + TYPE.replace(b":", b" :"), None),
    "a header that goes on": (STATUS + TYPE.replace(b"; ", b";\r\n\t"), None),
    "line feeds alone": ((STATUS + TYPE).replace(b"\r", b""), None),
    "blank lines before the status": (b"\r\n\r\n" + STATUS + TYPE, None),
    "ICY": (b"ICY 200 OK\r\n" + TYPE, None),
    "no version": (b"HTTP 200 OK\r\n" + TYPE, None),
    "a version that is not meant": (b"HTTP/2.0 200\r\n" + TYPE, None),
    "nothing between code and reason": (b"HTTP/1.1 200OK\r\n" + TYPE, None),
    "part of a whole": (b"HTTP/1.1 206 Partial Content\r\n" + TYPE, None),
    "no status line": (TYPE, NO_STATUS),
    "no head": (None, NO_STATUS),
    "a length of 0": (STATUS + b"Content-Length: 0\r\n" + TYPE, None),
    "the first picture's length": (STATUS + b"Content-Length: 2000\r\n" + TYPE, None),
    "letters that are no ASCII": (STATUS + b"Server: K\xfcche\r\n" + TYPE, None),
}


@pytest.mark.parametrize("piece", [600, 7])
@pytest.mark.parametrize("name", HEADS)
def test_the_stream_comes(name: str, piece: int, jpeg: bytes) -> None:
    head, counted = HEADS[name]
    body = _chunked(_stream(jpeg)) if head is not None and b"chunked" in head else _stream(jpeg)
    with http_server(_sent(body if head is None else head + b"\r\n" + body, piece)) as url:
        source = HttpMjpeg(url)
        found = [item.jpeg for item in source.frames() if isinstance(item, Captured)]
        source.close()
    assert found == 3 * [jpeg]
    assert source.noticed == ({} if counted is None else {counted: 1})


@pytest.mark.parametrize(
    "wanted", [b"WWW-Authenticate : Basic realm=x\r\n", b"no header\r\nWWW-Authenticate: Basic\r\n"]
)
def test_the_login_is_found(wanted: bytes, jpeg: bytes) -> None:
    def handle(connection: socket.socket, request: bytes) -> None:
        if base64.b64encode(b"me:secret") in request:
            connection.sendall(STATUS + TYPE + b"\r\n" + _stream(jpeg))
        else:
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\n" + wanted + b"Content-Length: 0\r\n\r\n")

    with http_server(handle) as url:
        source = HttpMjpeg(url.replace("//", "//me:secret@"))
        assert isinstance(next(iter(source.frames())), Captured)
        source.close()


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", DeviceError, "cannot be reached: SSH-2.0"),
        (b"\x00\x01\x02\r\n\r\n", DeviceError, "cannot be reached"),
        (b"hello\r\n", DeviceError, "cannot be reached: hello"),
        (STATUS + b"Content-Encoding: gzip\r\n" + TYPE + b"\r\n\x1f\x8b\x08", DeviceError, "compressed .gzip."),
        (STATUS + TYPE + b"Transfer-Encoding: chunked\r\n\r\n--x\r\n\r\n", FormatError, "announces chunks"),
    ],
)
def test_what_is_no_stream_is_named(data: bytes, kind: type[DeviceError], said: str) -> None:
    with http_server(answer(data)) as url, pytest.raises(kind, match=said):
        list(HttpMjpeg(url).frames())


def test_headers_that_are_right_stay_as_they_are() -> None:
    head = STATUS + b"X: a:b\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d"
    noted = Counter[str]()
    assert mended_head(head, noted) == head + b"\r\n\r\n" and not noted


@pytest.mark.parametrize("kind", ["multipart/x-mixed-replace;boundary=ipcam264", "text/html", "text/plain", "jpeg"])
def test_a_still_picture_of_another_type(kind: str, jpeg: bytes) -> None:
    """What begins as a picture is one; anything else of this type is named."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
    with http_server(answer(head + jpeg)) as url:
        source = HttpStill(url, 0.1)
        (first,) = (item for _, item in zip(range(1), source.frames(), strict=False))
        source.close()
    assert isinstance(first, Captured) and first.jpeg == jpeg
    with http_server(answer(head + b"<html>")) as url, pytest.raises(DeviceError, match=f"answers with .*{kind[:9]}"):
        HttpStill(url, 0.1)
