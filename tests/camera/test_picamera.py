"""The Pi camera against a fake of picamera2; it was not run on a device."""

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Captured, open_source, picamera
from edgeguard.errors import DeviceError, InputError


class FakeRequest:
    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.rgb, self.released = rgb, False

    def make_array(self, name: str) -> NDArray[np.uint8]:
        assert name == "main" and not self.released
        return self.rgb

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000, "ExposureTime": 9000}

    def release(self) -> None:
        self.released = True


class FakePicamera2:
    made: ClassVar[list["FakePicamera2"]] = []

    def __init__(self, index: int) -> None:
        if index > 0:
            raise IndexError("list index out of range")
        self.calls: list[str] = []
        self.requests: list[FakeRequest] = []
        self.made.append(self)

    def create_video_configuration(self, main: dict[str, Any], controls: dict[str, Any]) -> dict[str, Any]:
        assert main["format"] == "BGR888" and controls == {"FrameRate": 10}
        return {"main": {**main, "size": (main["size"][0] - main["size"][0] % 32, main["size"][1])}}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.calls.append("start")

    def capture_request(self) -> FakeRequest:
        if len(self.requests) == 2:
            raise RuntimeError("camera frontend has timed out")
        self.requests.append(FakeRequest(np.full((48, 64, 3), 7, np.uint8)))
        return self.requests[-1]

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("picamera2")
    module.Picamera2 = FakePicamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)


def test_frames_with_the_sensors_time_then_loss(picamera2: None) -> None:
    source = open_source("picamera2:0", size=(100, 48), fps=10)
    assert str(source.applied) == "RGB, 96x48, 10 frames/s"
    frames: list[Any] = []
    with pytest.raises(DeviceError, match="lost after 2 frames: camera frontend"):
        for item in source.frames():
            frames.append(item)
    source.close()
    assert all(isinstance(f, Captured) and f.time_source == "source" for f in frames)
    assert 0.015 < time.time() - frames[-1].captured_at < 1
    camera = FakePicamera2.made[-1]
    assert camera.calls == ["start", "stop", "close"] and all(request.released for request in camera.requests)


def test_what_is_missing(picamera2: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="picamera2:3 is not there .*: see rpicam-hello --list-cameras"):
        open_source("picamera2:3")
    with pytest.raises(InputError, match="wanted picamera2:N"):
        open_source("picamera2:front")
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DeviceError, match="apt install python3-picamera2|system-site-packages"):
        open_source("picamera2:0")


@pytest.mark.parametrize("known", [True, False])
def test_another_program_has_it(picamera2: None, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    def busy(camera: FakePicamera2, index: int) -> None:
        raise RuntimeError("Camera __init__ sequence did not complete.")

    monkeypatch.setattr(FakePicamera2, "__init__", busy)
    monkeypatch.setattr(picamera, "_media_devices", lambda: [Path("/dev/media0"), Path("/dev/media3")])
    holders = {Path("/dev/media3"): ["rpicam-vid (process 812)"]} if known else {}
    monkeypatch.setattr(picamera, "users_of", lambda device: holders.get(device, []))
    said = "rpicam-vid .process 812. has it open" if known else "another program may be using it .sudo fuser"
    with pytest.raises(DeviceError, match=f"picamera2:0 cannot be opened .*: {said}"):
        open_source("picamera2:0")
