"""Frames around an alarm, byte for byte, within a quota."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Captured, open_source
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.guard.passes import Received, receive_png, receive_raw
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.seal import Seal, seal_png
from edgeguard.pipeline.result import FrameResult
from edgeguard.png.frame import write_png
from edgeguard.sinks.recorder import EventRecorder

Make = Callable[..., FrameResult]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("edgeguard.sinks.recorder.time.monotonic", lambda: now[0])
    return now


def _feed(recorder: EventRecorder, make: Make, clock: list[float], frames: range, alarms: tuple[str, ...] = ()) -> None:
    for frame in frames:
        clock[0] = 100 + frame / 10
        recorder.write(make(frame, alarms=alarms))


def test_before_and_after_an_alarm(make: Make, clock: list[float], tmp_path: Path) -> None:
    with EventRecorder(tmp_path, seconds=1.0) as recorder:
        _feed(recorder, make, clock, range(100))
        _feed(recorder, make, clock, range(100, 105), ("patch",))
        _feed(recorder, make, clock, range(105, 200))
    (event,) = tmp_path.iterdir()
    assert event.name.endswith("Z-patch")
    lines = [json.loads(line) for line in (event / "results.jsonl").read_text().splitlines()]
    frames = [line["frame"] for line in lines]
    assert frames[0] in (89, 90) and frames[-1] in (114, 115) and frames == list(range(frames[0], frames[-1] + 1))
    received = make(0).received
    assert received is not None and (event / lines[0]["file"]).read_bytes() == received.jpeg
    assert lines[0]["recorded"] == "received" and lines[13]["alarms"] == ["patch"]


def test_raw_frames_are_encoded_and_say_so(make: Make, scene: NDArray[np.uint8], tmp_path: Path) -> None:
    with EventRecorder(tmp_path) as recorder:
        recorder.write(make(0, received=Received(None, scene, "run"), alarms=("disagreement",)))
    (event,) = tmp_path.iterdir()
    assert json.loads((event / "results.jsonl").read_text())["recorded"] == "encoded"
    assert decode_rgb((event / "000000000.jpg").read_bytes()).shape == scene.shape


def test_a_sensors_frame_without_loss_is_kept_byte_for_byte_and_runs_again(
    make: Make, scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    profile = GuardProfile.preset("fd")
    png = seal_png(write_png(Sanitizer(profile)(scene)), Seal(4, 1.0, "", profile.sha256))
    with EventRecorder(tmp_path) as recorder:
        recorder.write(make(0, received=receive_png(png, profile), alarms=("unproven",)))
    (event,) = tmp_path.iterdir()
    line = json.loads((event / "results.jsonl").read_text())
    assert (line["file"], line["recorded"]) == ("000000000.png", "received")
    assert (event / line["file"]).read_bytes() == png
    (again,) = open_source(event).frames()
    assert isinstance(again, Captured) and again.png == png


def test_recorded_pictures_have_the_cameras_levels_though_pass_1_leaves_room(
    make: Make, scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    """A raw frame is widened before it is coded; a sensor's PNG keeps its bytes, and its line says the room."""
    profile = GuardProfile.preset("proof-1")
    half = np.ascontiguousarray(scene // 255 * 255)  # black and white: what room takes most from
    raw = receive_raw(half, profile)
    png = seal_png(write_png(raw.decode()), Seal(4, 1.0, "", profile.sha256, profile.room))
    with EventRecorder(tmp_path) as recorder:
        recorder.write(make(0, received=raw, alarms=("unproven",)))
        recorder.write(make(1, received=receive_png(png, profile), alarms=("unproven",)))
    (event,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in (event / "results.jsonl").read_text().splitlines()]
    assert [(line["recorded"], line.get("room")) for line in lines] == [("encoded", None), ("received", 16)]
    assert np.abs(raw.decode().astype(int) - half).mean() > 10 and (event / lines[1]["file"]).read_bytes() == png
    for captured in open_source(event).frames():
        assert isinstance(captured, Captured)
        seen = captured.decode()
        assert np.abs(seen.astype(int) - half).mean() < 6 and seen.max() > 250 and seen.min() < 5


def test_the_oldest_events_go_when_the_quota_is_full(make: Make, clock: list[float], tmp_path: Path) -> None:
    received = make(0).received
    assert received is not None and received.jpeg is not None
    with EventRecorder(tmp_path, seconds=0.2, quota_bytes=24 * len(received.jpeg)) as recorder:
        for start in range(0, 500, 50):
            _feed(recorder, make, clock, range(start, start + 2), ("patch",))
            _feed(recorder, make, clock, range(start + 2, start + 50))
    events = sorted(tmp_path.iterdir())
    assert 2 <= len(events) <= 4 and "1970-01-01T00-17-25" in events[-1].name


def test_one_event_never_outgrows_the_quota(make: Make, clock: list[float], tmp_path: Path) -> None:
    received = make(0).received
    assert received is not None and received.jpeg is not None
    quota = 20 * len(received.jpeg)
    with EventRecorder(tmp_path, seconds=1.0, quota_bytes=quota) as recorder:
        for start in range(0, 500, 10):
            _feed(recorder, make, clock, range(start, start + 10), ("patch",))
            held = sum(path.stat().st_size for path in tmp_path.rglob("*.jpg"))
            assert held <= quota + 2 * len(received.jpeg)


def test_what_a_killed_run_left_goes_at_the_start(make: Make, clock: list[float], tmp_path: Path) -> None:
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    (event / ".000000001-0123abcd.jpg").write_bytes(bytes(1000))
    (event / "000000000.jpg").write_bytes(bytes(1000))
    EventRecorder(tmp_path)
    assert [path.name for path in event.iterdir()] == ["000000000.jpg"]
    EventRecorder(tmp_path, quota_bytes=500)
    assert list(tmp_path.iterdir()) == []


def test_an_alarm_that_never_ends_ends_its_event_after_a_minute(make: Make, clock: list[float], tmp_path: Path) -> None:
    with EventRecorder(tmp_path, seconds=1.0) as recorder:
        _feed(recorder, make, clock, range(0, 1300, 10), ("patch",))
    sizes = sorted(len(list(event.glob("*.jpg"))) for event in tmp_path.iterdir())
    assert len(sizes) >= 2 and sizes[-1] <= 63


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot record events"):
        EventRecorder(tmp_path / "file")


@pytest.mark.parametrize("at", [1e12, 1e300, float("inf"), -1e12])
def test_a_time_that_no_calendar_has_is_recorded_all_the_same(
    make: Make, clock: list[float], tmp_path: Path, at: float
) -> None:
    with EventRecorder(tmp_path) as recorder:
        recorder.write(replace(make(1, alarms=("patch",)), captured_at=at))
    (event,) = tmp_path.iterdir()
    assert event.name.endswith("Z-patch") and (event / "results.jsonl").is_file()
