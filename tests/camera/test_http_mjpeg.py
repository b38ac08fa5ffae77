import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from camera.streams import HEAD, answer, http_server, part, stream
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, open_source
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.urls import split_url, without_credentials
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg


@pytest.fixture(scope="module")
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    return [encode_jpeg(scene, GuardProfile.preset("jpeg:80")) for scene in scenes]


def _frames(url: str, **options: Any) -> Iterator[Captured | Lost]:
    source = HttpMjpeg(url, **options)
    try:
        yield from source.frames()
    finally:
        source.close()


@pytest.mark.parametrize("length", [True, False])
def test_the_cameras_own_bytes(jpegs: list[bytes], length: bool) -> None:
    with http_server(stream(jpegs, length=length)) as url:
        items = list(_frames(url))
    assert [item.jpeg for item in items if isinstance(item, Captured)] == jpegs
    assert [item.index for item in items] == list(range(len(jpegs)))
    assert all(isinstance(i, Captured) and abs(i.captured_at - time.time()) < 60 for i in items)


def test_a_camera_with_one_seat_is_free_once_the_source_is_closed(jpegs: list[bytes]) -> None:
    """It sends as fast as it can: what is on its way when the source closes must not hold it up."""

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD)
        while True:
            connection.sendall(part(jpegs[0]) * 64)

    kept = []  # whoever still holds the source and its frames does not hold the camera
    with http_server(handle) as url:
        for _ in range(3):
            source = HttpMjpeg(url)
            frames = source.frames()
            assert isinstance(next(frames), Captured)
            kept.append((source, frames))
            source.close()


def test_damaged_frames_are_lost_and_the_rest_goes_on(jpegs: list[bytes]) -> None:
    with http_server(stream([jpegs[0], jpegs[1][:500], b"<html>", jpegs[2]])) as url:
        items = list(_frames(url))
    assert [type(item) for item in items] == [Captured, Lost, Lost, Captured]


def test_credentials_are_sent_and_never_shown(jpegs: list[bytes]) -> None:
    seen: list[bytes] = []

    def handle(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        if b"Authorization" not in request:
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n\r\n")
        else:
            stream(jpegs[:1])(connection, request)

    with http_server(handle) as url:
        items = list(_frames(url.replace("//", "//me:s%20ecret@")))
    assert b"Authorization" not in seen[0] and b"Authorization: Basic bWU6cyBlY3JldA==" in seen[1]  # me:s ecret
    assert (
        isinstance(items[0], Captured) and "ecret" not in items[0].source and "me" not in items[0].source.split("/")[2]
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "answers with text/html"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n#EXTM3U\nfile:///x", "mpegurl"),
        (b"SSH-2.0-OpenSSH\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
def test_wrong_answers_are_told_at_the_start(data: bytes, message: str) -> None:
    with http_server(answer(data)) as url, pytest.raises(DeviceError, match=message):
        open_source(url)


def test_refused_and_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DeviceError, match="does not answer within 0.2 s"):
            HttpMjpeg(f"http://127.0.0.1:{port}/", timeout_s=0.2)
    with pytest.raises(DeviceError, match="cannot be reached"):
        HttpMjpeg(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"--frame\r\nContent-Length: 5000\r\n\r\n\xff\xd8half", "ended in mid-frame"),
        (b"--frame\r\n\r\n\xff\xd8half", "ended in mid-frame"),
        (b"", "ended between frames"),
        (b"#EXTM3U\r\n", "ended between frames"),
        (b"--frame\r\nContent-Length: 99999999999\r\n\r\n", "announces a frame"),
        (b"--frame\r\nContent-Length: " + b"9" * 6000 + b"\r\n\r\n", "announces a frame"),
        (b"--frame\r\nContent-Length: 5\xb9\r\n\r\n", "ended in mid-frame"),  # a superscript is no digit
        (b"--frame\r\n" + b"".join(b"h%d: x\r\n" % i for i in range(80)), "64 headers"),
        (b"--frame\r\n" + b"x" * 20000, "something else"),
    ],
)
def test_a_stream_that_dies_or_lies_is_lost_after_its_good_frames(
    jpegs: list[bytes], tail: bytes, message: str
) -> None:
    frames = []
    with http_server(answer(HEAD + part(jpegs[0]) + tail)) as url, pytest.raises(DeviceError, match=message):
        for item in _frames(url):
            frames.append(item)
    assert len(frames) == 1 and isinstance(frames[0], Captured)


def test_a_stall_ends(jpegs: list[bytes]) -> None:
    with http_server(answer(HEAD + part(jpegs[0]) + b"--frame\r\n", hold_s=1.5)) as url:
        with pytest.raises(DeviceError, match=r"stalls between frames: no data for 0\.3 s"):
            list(_frames(url, timeout_s=0.3))


def test_a_head_that_drips_ends() -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(40):
            try:
                connection.sendall(b"X-%d: y\r\n" % number)
            except OSError:
                return
            time.sleep(0.1)

    began = time.monotonic()
    with http_server(drip) as url, pytest.raises(DeviceError, match=r"does not answer within 0\.5 s"):
        HttpMjpeg(url, frame_timeout_s=0.5)
    assert time.monotonic() - began < 2


def test_a_slow_drip_ends(jpegs: list[bytes]) -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD + b"--frame\r\nContent-Length: 9000\r\n\r\n")
        for _number in range(40):
            connection.sendall(b"x")
            time.sleep(0.05)

    with http_server(drip) as url, pytest.raises(DeviceError, match="stalls in mid-frame"):
        list(_frames(url, timeout_s=0.5, frame_timeout_s=0.6))


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host:99999999/"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises((InputError, DeviceError)):
        open_source(url)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("token=abc", "token=***"),
        ("channel=1&Pwd=a%26b&x=2", "channel=1&Pwd=***&x=2"),
        ("user=me&password=secret", "user=***&password=***"),
        ("size=640x480", "size=640x480"),
    ],
)
def test_what_a_query_holds_of_secrets_is_not_shown(query: str, shown: str) -> None:
    url = without_credentials(split_url(f"http://me:word@camera/stream?{query}", ("http",)))
    assert url == f"http://camera/stream?{shown}"


def test_other_serial_cameras_are_not_known() -> None:
    with pytest.raises(InputError, match="is not known: serial:vc0706:PORT"):
        open_source("serial:nicla:/dev/ttyUSB0")
