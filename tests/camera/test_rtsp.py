"""RTSP against a real server on loopback."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import missing

from edgeguard.camera import Captured, Lost, open_source
from edgeguard.camera.reader import FrameReader
from edgeguard.camera.source import Unchanged
from edgeguard.errors import DeviceError, InputError
from edgeguard.jpeg.decode import decode_rgb

SYSTEM_PYTHON = "/usr/bin/python3"
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@contextmanager
def server(port: int = 0) -> Iterator[int]:
    script = Path(__file__).with_name("rtsp_server.py")
    process = subprocess.Popen([SYSTEM_PYTHON, script, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def rtsp() -> Iterator[int]:
    there = Path(SYSTEM_PYTHON).exists() and (
        subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False).returncode == 0
    )
    if not there:
        missing("gir1.2-gst-rtsp-server-1.0 with python3-gi")
    with server() as port:
        yield port


def _take(url: str, count: int) -> list[Captured | Lost | Unchanged]:
    source, items = open_source(url), list[Captured | Lost | Unchanged]()
    for item in source.frames():
        items.append(item)
        if len(items) == count:
            break
    source.close()
    return items


def test_motion_jpeg_keeps_the_cameras_jpegs(rtsp: int) -> None:
    url = f"rtsp://127.0.0.1:{rtsp}/mjpeg"
    source = open_source(url)
    assert (source.applied.width, source.applied.height, source.applied.format) == (320, 240, "MJPG") and source.live
    source.close()
    items = _take(url, 5)
    frames = [item for item in items if isinstance(item, Captured)]
    assert len(frames) >= 4 and all(frame.jpeg is not None and frame.source == url for frame in frames)
    assert decode_rgb(frames[-1].jpeg or b"").shape == (240, 320, 3)


def test_other_codecs_come_decoded(rtsp: int) -> None:
    frames = [item for item in _take(f"rtsp://127.0.0.1:{rtsp}/vp8", 5) if isinstance(item, Captured)]
    assert len(frames) == 5
    assert all(frame.rgb is not None and frame.rgb.shape == (240, 320, 3) and frame.rgb.max() > 200 for frame in frames)


def test_over_udp(rtsp: int) -> None:
    url = f"rtsp://127.0.0.1:{rtsp}/mjpeg"
    frames = [item for item in _take(f"{url}?transport=udp", 3) if isinstance(item, Captured)]
    assert frames and all(frame.source == url and frame.jpeg is not None for frame in frames)


def test_a_path_that_the_server_does_not_know(rtsp: int) -> None:
    with pytest.raises(DeviceError, match="answers 404 Not Found: there is no stream at this path"):
        open_source(f"rtsp://127.0.0.1:{rtsp}/nothing")


@pytest.mark.full
def test_a_server_that_goes_is_lost_and_found_again(rtsp: int) -> None:
    with server() as port:
        url = f"rtsp://127.0.0.1:{port}/mjpeg"
        source = open_source(url)
        reader = FrameReader(source, lambda f: f.index, reopen=lambda: open_source(url), lost_after_s=1.0)
        reader.__enter__()
        assert reader.take() is not None
    threading.Thread(target=lambda: list(reader), daemon=True).start()
    began = time.monotonic()
    while reader.losses == 0:
        assert time.monotonic() - began < 1.5
        time.sleep(0.01)
    with server(port):
        began = time.monotonic()
        while reader.reconnects == 0:
            assert time.monotonic() - began < 6  # the server itself needs a second or two
            time.sleep(0.01)
        reader.__exit__(None, None, None)


def test_what_cannot_be_opened() -> None:
    began = time.monotonic()
    with pytest.raises(DeviceError, match=r"rtsp://127.0.0.1:1/x refuses the connection: nothing listens on port 1 "):
        open_source("rtsp://user:secret@127.0.0.1:1/x")
    assert time.monotonic() - began < 5 and "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
    with pytest.raises(InputError, match="not an rtsp:// or rtsps:// URL"):
        open_source("rtsp://")


def test_a_playlist_on_the_port_is_not_followed(tmp_path: Path) -> None:
    from camera.streams import answer, http_server

    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    with http_server(answer(head + b"#EXTM3U\n/etc/passwd\n")) as url, pytest.raises(DeviceError, match="speaks HTTP"):
        open_source(url.replace("http://", "rtsp://"))
