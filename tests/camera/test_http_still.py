"""A still picture's URL, asked again and again, against a real server."""

import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from camera.http_cameras import Answer, Asked, DigestServer, camera
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, open_source, source_opener
from edgeguard.camera.http_still import HttpStill
from edgeguard.camera.multipart import MAX_PART_BYTES
from edgeguard.camera.reader import FrameReader
from edgeguard.camera.source import Unchanged
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg


@pytest.fixture(scope="module")
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    return [encode_jpeg(scene, GuardProfile.preset("jpeg:80")) for scene in scenes[:2]]


def _answer(data: bytes, kind: str = "image/jpeg", status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": kind, "Content-Length": str(len(data)), **named}, data


def _take(url: str, count: int, poll_s: float = 0.05) -> list[Captured | Lost | Unchanged]:
    source, found = HttpStill(url, poll_s), list[Captured | Lost | Unchanged]()
    for item in source.frames():
        found.append(item)
        if len(found) == count:
            break
    source.close()
    return found


def test_each_new_picture_is_a_frame_and_the_same_one_is_none(jpegs: list[bytes]) -> None:
    order: Iterator[int] = iter([0, 0, 1, 1, 0, 0, 0])
    with camera(lambda asked: _answer(jpegs[next(order)])) as (host, log):
        items = _take(f"http://{host}/snapshot.jpg", 5)
    assert [item.jpeg if isinstance(item, Captured) else None for item in items] == [
        jpegs[0], None, jpegs[1], None, jpegs[0],
    ]  # fmt: skip
    assert [item.index for item in items if isinstance(item, Captured)] == [0, 1, 2] and len(log) == 5


def test_etags_save_the_picture(jpegs: list[bytes]) -> None:
    def script(asked: Asked) -> Answer:
        if asked.headers.get("If-None-Match") == '"7"' and asked.headers.get("If-Modified-Since") == "Monday":
            return 304, {"Content-Length": "0"}, b""
        return _answer(jpegs[0], ETag='"7"', Last_Modified="Monday")

    with camera(script) as (host, _):
        items = _take(f"http://{host}/", 3)
    assert isinstance(items[0], Captured) and all(isinstance(item, Unchanged) for item in items[1:])


def test_digest_is_answered_once(jpegs: list[bytes]) -> None:
    server, order = DigestServer(b"me", b"pw"), iter([*range(9)])
    with camera(lambda asked: server.refusal(asked) or _answer(jpegs[next(order) % 2])) as (host, log):
        assert len(_take(f"http://me:pw@{host}/", 4)) == 4
    assert len(log) == 5


def test_it_asks_at_its_pace(jpegs: list[bytes]) -> None:
    began = time.monotonic()
    with camera(lambda asked: _answer(jpegs[0])) as (host, log):
        _take(f"http://{host}/", 4, poll_s=0.2)
    assert 0.6 <= time.monotonic() - began < 3 and len(log) == 4


def test_other_formats_and_damage(jpegs: list[bytes], scenes: list[NDArray[np.uint8]]) -> None:
    png = cv2.imencode(".png", scenes[0][:, :, ::-1])[1].tobytes()
    order = iter([(png, "image/png"), (jpegs[0][:700], "image/jpeg"), (b"GIF89a", ""), (jpegs[0], "image/jpeg; x=y")])
    with camera(lambda asked: _answer(*next(order))) as (host, _):
        raw, early, broken, whole = _take(f"http://{host}/", 4)
    assert isinstance(raw, Captured) and raw.rgb is not None and np.array_equal(raw.rgb, scenes[0])
    assert isinstance(early, Lost) and "ends early" in early.reason
    assert isinstance(broken, Lost) and isinstance(whole, Captured) and whole.jpeg == jpegs[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_answer(b"<html>", "text/html; charset=utf-8"), "a web page"),
        (_answer(b"--x", "multipart/x-mixed-replace; boundary=x"), "answers with a stream .*leave out --poll"),
        (_answer(b"{}", "application/json"), "answers with application/json, not with a picture"),
        (_answer(b"", status=404), "answers 404"),
        ((200, {"Content-Type": "image/jpeg"}, bytes(MAX_PART_BYTES + 70000)), "a picture of more than"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_at_the_start(answer: Answer, said: str) -> None:
    with camera(lambda asked: answer) as (host, _), pytest.raises(DeviceError, match=said):
        open_source(f"http://{host}/", poll_s=1.0)


def test_a_camera_that_goes_and_comes_is_found_again(jpegs: list[bytes]) -> None:
    good, count = threading.Event(), iter(range(10_000))
    good.set()

    def script(asked: Asked) -> Answer:
        return _answer(jpegs[next(count) % 2]) if good.is_set() else _answer(b"", status=503)

    with camera(script) as (host, _):
        opening = source_opener(f"http://{host}/", poll_s=0.05)
        with FrameReader(opening(), lambda frame: frame.index, reopen=opening, lost_after_s=0.5) as reader:
            assert reader.take() is not None
            good.clear()
            began = time.monotonic()
            while reader.losses == 0:
                assert time.monotonic() - began < 3
                time.sleep(0.01)
            good.set()
            while reader.reconnects == 0:
                assert time.monotonic() - began < 8
                time.sleep(0.01)


def test_closing_wakes_it_up(jpegs: list[bytes]) -> None:
    with camera(lambda asked: _answer(jpegs[0])) as (host, _):
        source = HttpStill(f"http://{host}/", 60.0)
        thread = threading.Thread(target=lambda: list(source.frames()), daemon=True)
        thread.start()
        time.sleep(0.2)
        source.close()
        thread.join(2)
        assert not thread.is_alive()


@pytest.mark.parametrize("spec", ["rtsp://camera/1", "0", "folder", "synthetic:cards"])
def test_poll_is_for_http(spec: str) -> None:
    with pytest.raises(InputError, match="--poll is for the http:// URL of a still picture"):
        open_source(spec, poll_s=1.0)
