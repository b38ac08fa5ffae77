import os
import socket
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, names_a_file, open_source
from edgeguard.camera.opencv_capture import OpenCvCapture
from edgeguard.camera.source import Unchanged
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg


def rgb_of(item: Captured | Lost | Unchanged) -> NDArray[np.uint8]:
    """The pixels of a frame that arrived raw."""
    assert isinstance(item, Captured) and item.rgb is not None
    return item.rgb


def test_folders_in_byte_order_with_the_files_own_bytes(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    jpeg = encode_jpeg(scene, GuardProfile.preset("jpeg:80"))
    for name in ("b.JPG", "a.jpeg", "Z.jpg", "é.jpg"):
        (tmp_path / name).write_bytes(jpeg)
    cv2.imwrite(str(tmp_path / "c.png"), scene[:, :, ::-1])
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / "broken.jpg").write_bytes(jpeg[:900])
    (tmp_path / "empty.png").write_bytes(b"")
    os.utime(tmp_path / "a.jpeg", (1000, 1000))
    source = open_source(tmp_path)
    items = list(source.frames())
    assert [i.source for i in items] == ["Z.jpg", "a.jpeg", "b.JPG", "broken.jpg", "c.png", "empty.png", "é.jpg"]
    assert [isinstance(i, Lost) for i in items] == [False, False, False, True, False, True, False]
    first, png = items[1], items[4]
    assert isinstance(first, Captured) and first.jpeg == jpeg and first.captured_at == 1000
    assert isinstance(png, Captured) and png.jpeg is None and np.array_equal(rgb_of(png), scene) and not source.live


@pytest.mark.parametrize("name", ["x.txt", "nothing.mp4", "empty.jpg"])
def test_paths_that_are_no_source(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError):
        open_source(tmp_path / name)


def test_a_folder_of_class_folders_is_told_to_give_one(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"folders within it are not read: give one of them \(.*cat\)$"):
        open_source(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        open_source(tmp_path)


def test_lossless_video(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 10, (320, 240))
    for scene in scenes:
        writer.write(np.ascontiguousarray(scene[:, :, ::-1]))
    writer.release()
    source = open_source(path)
    items = list(source.frames())
    source.close()
    assert len(items) == len(scenes)
    for item, scene in zip(items, scenes, strict=True):
        assert np.array_equal(rgb_of(item), scene)
    times = [item.captured_at for item in items if isinstance(item, Captured)]
    assert times[1] - times[0] == pytest.approx(0.1, abs=1e-6)


def test_motion_jpeg_keeps_the_cameras_bytes(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> None:
    path = tmp_path / "cam.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for scene in scenes:
        writer.write(np.ascontiguousarray(scene[:, :, ::-1]))
    writer.release()
    items = list(open_source(path).frames())
    stored = path.read_bytes()
    assert len(items) == len(scenes)
    assert all(isinstance(i, Captured) and i.jpeg is not None and i.jpeg in stored for i in items)


def test_a_video_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"not a video at all" * 50)
    with pytest.raises(InputError, match="not a video"):
        open_source(tmp_path / "x.mp4")


def _small_video(path: Path, size: tuple[int, int] = (64, 48), codec: str = "FFV1") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, size)
    writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()
    return path


def test_a_video_whose_name_is_no_utf8(tmp_path: Path) -> None:
    """OpenCV ended the process by a signal."""
    path = tmp_path / os.fsdecode(b"\xff\xfe.mp4")
    path.write_bytes(b"{}")
    with pytest.raises(InputError, match="no UTF-8: rename the file"):
        open_source(path)
    with pytest.raises(InputError, match="no UTF-8"):
        OpenCvCapture(f"rtsp://127.0.0.1:9/{path.name}", cv2.CAP_FFMPEG)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize(
    "kind", ["concat", "concat of an address", "hls", "hls of an address", "dash", "sdp", "image sequence"]
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, kind: str, suffix: str) -> None:
    """Whatever its name: FFmpeg looks at the content, and would follow the list to files and addresses."""
    other = _small_video(tmp_path / "other.mp4", codec="mp4v")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.mp4"
        dash = (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet><Representation id="1" '
            f'bandwidth="1" mimeType="video/mp4"><BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period>'
            "</MPD>"
        )
        sdp = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n"
        texts = {
            "concat": f"ffconcat version 1.0\nfile {other.name}\n",
            "concat of an address": f"ffconcat version 1.0\nfile {address}\n",
            "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other.name}\n#EXT-X-ENDLIST\n",
            "hls of an address": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            "dash": dash,
            "sdp": sdp,
        }
        path = tmp_path / (f"%d{suffix}" if kind == "image sequence" else f"list{suffix}")
        if kind == "image sequence":
            _small_video(tmp_path / f"1{suffix}")
        path.write_text(texts.get(kind, "x" * 99))
        with pytest.raises(InputError, match="not a video that can be read"):
            open_source(path)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_file_named_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _small_video(tmp_path / "x.avi").rename(tmp_path / "concat:y.avi")
    assert len(list(open_source("concat:y.avi").frames())) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mjpeg://me:secret@10.0.0.9/x?pwd=secret", "a source of mjpeg:// is not known: use http://"),
        ("rtmp://me:secret@camera/live", "a source of rtmp:// is not known"),
        ("10.0.9.17:3031/video", "10.0.9.17:3031/video is not there; if it is a camera's address, write http://"),
        ("me:secret@10.0.9.17/video?pwd=secret", "^10.0.9.17/video is not there; if it is a camera's address"),
        ("camera.local:8080/stream", "write http:// or rtsp:// before it"),
        ("photos/2026-01-01T12:30/x.jpg", "^photos/2026-01-01T12:30/x.jpg is not there$"),
        ("no-such-file.mp4", "^no-such-file.mp4 is not there$"),
        ("syntetic:cards", "^syntetic:cards is not there: do you mean synthetic:cards[?]$"),
        ("v412:/dev/video0", "do you mean v4l2:/dev/video0[?]$"),
    ],
)
def test_an_address_that_is_none_is_named_and_shows_no_password(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        open_source(name)
    assert "secret" not in str(error.value)


def test_schemes_may_be_in_capitals() -> None:
    assert not names_a_file("HTTP://camera/")
    with pytest.raises(DeviceError, match="^http://127.0.0.1:1/x cannot be reached"):
        open_source("HTTP://me:secret@127.0.0.1:1/x")
    with pytest.raises(DeviceError, match="refuses the connection"):
        open_source("Rtsp://127.0.0.1:1/x")


def test_the_users_own_options_of_ffmpeg_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    open_source(_small_video(tmp_path / "x.avi")).close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;udp"


def test_frames_of_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _small_video(tmp_path / "x.avi")
    monkeypatch.setattr("edgeguard.camera.files.MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="frames of 3072 pixels, more than 3071"):
        open_source(path)


def test_a_film_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(_small_video(tmp_path / "x.avi"))
    monkeypatch.setattr("edgeguard.camera.files.MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(InputError, match="more than 3071"):
        list(source.frames())


@pytest.mark.parametrize(("scale", "rate"), [(0x7FFFFFFF, 1), (1, 0x7FFFFFFF)])
def test_a_film_of_a_rate_that_no_camera_has_is_refused(tmp_path: Path, scale: int, rate: int) -> None:
    path = _small_video(tmp_path / "x.avi")
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 28, scale, rate)
    path.write_bytes(data)
    with pytest.raises(InputError, match="frames a second"):
        open_source(path)


def test_pictures_are_read_up_to_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.truncate(1 << 40)
    (lost,) = open_source(tmp_path).frames()
    assert isinstance(lost, Lost) and "larger than 256 MiB" in lost.reason


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="camera 97 is not there"):
        open_source(97)
