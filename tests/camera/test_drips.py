"""Cameras whose answer comes byte by byte, in places where the standard library reads on by itself."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgeguard.camera.connection import Connection
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.http_still import HttpStill
from edgeguard.camera.opening import Attempt, ends_with_the_attempt
from edgeguard.errors import DeviceError

_STILL = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
_STREAM = _STILL.replace(b"image/jpeg", b"multipart/x-mixed-replace; boundary=b")
_PICTURE = b"6\r\n\xff\xd8\xff\xd9\0\0\r\n"


@contextmanager
def _camera(beginning: bytes, again: bytes) -> Iterator[tuple[str, threading.Event]]:
    """Sends the beginning, then the same again and again; the event is set with the first request."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(4096)
            asked.set()
            connection.sendall(beginning)
            while again:
                connection.sendall(again)
                time.sleep(0.03)
            connection.recv(1)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", asked
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (_STILL + _PICTURE + b"0\r\n", b"x: y\r\n"),  # lines behind the last chunk
        (_STILL + _PICTURE, b"0"),  # the size of a chunk
        (_STILL + _PICTURE + b"4;", b"x"),  # an extension of it
        (_STILL, b"1\r\n\xff\r\n"),
    ],
)
def test_a_picture_has_one_deadline_for_the_whole_answer(beginning: bytes, again: bytes) -> None:
    with _camera(beginning, again) as (url, _):
        began = time.monotonic()
        with pytest.raises(DeviceError, match="no whole picture within 0.4 s"):
            HttpStill(url, 1.0, timeout_s=0.3, frame_timeout_s=0.4)
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(("beginning", "again"), [(_STREAM + _PICTURE + b"0\r\n", b"x: y\r\n"), (_STREAM, b"0")])
def test_a_stream_has_one_for_each_frame(beginning: bytes, again: bytes) -> None:
    with _camera(beginning, again) as (url, _):
        stream, began = HttpMjpeg(url, timeout_s=0.3, frame_timeout_s=0.4), time.monotonic()
        with pytest.raises(DeviceError, match="stalls|was lost"):
            list(stream.frames())
        assert time.monotonic() - began < 1.5
        stream.close()


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8"])
@pytest.mark.parametrize("opening", [lambda url: HttpStill(url, 1.0), HttpMjpeg])
def test_an_attempt_that_waits_in_its_constructor_can_be_closed(
    beginning: bytes, opening: Callable[[str], HttpStill | HttpMjpeg]
) -> None:
    with _camera(beginning, b"") as (url, asked):
        connection = Connection(lambda: opening(url), lambda connection, item: True, lambda: None)
        connection.start()
        assert asked.wait(5)
        connection.close()
        connection.join(1.5)
        assert connection.done and not connection.alive
        if beginning and connection.error is None:
            return  # the camera had said what it sends: it was open, and was closed
        assert isinstance(connection.error, DeviceError)


def test_what_comes_after_the_end_ends_at_once() -> None:
    attempt, ended = Attempt(), list[int]()
    with attempt.going_on():
        ends_with_the_attempt(lambda: ended.append(1))
    attempt.close()
    attempt.close()
    with attempt.going_on():
        ends_with_the_attempt(lambda: ended.append(2))
    ends_with_the_attempt(lambda: ended.append(3))
    assert ended == [1, 2]
