"""The V4L2 source against a fake with the documented behaviour of cv2.VideoCapture; it was not run on a device."""

import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera.fake_kernel import FakeKernel, pi_4, webcam
from numpy.typing import NDArray

from edgeguard.camera import Captured, open_source
from edgeguard.camera.v4l2 import Camera
from edgeguard.camera.v4l2_nodes import users_of
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, encode_jpeg


class FakeCapture:
    """MJPG granted or not; CONVERT_RGB = 0 gives the driver's buffer, padded with zeros as drivers do."""

    def __init__(self, frame: NDArray[np.uint8], grants_mjpg: bool, reads: int, opens: bool = True) -> None:
        self.frame, self.grants, self.reads, self.opens = frame, grants_mjpg, reads, opens
        self.properties: dict[int, float] = {}

    def isOpened(self) -> bool:
        return self.opens

    def set(self, key: int, value: float) -> bool:
        self.properties[key] = value
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_FOURCC:
            return cv2.VideoWriter.fourcc(*("MJPG" if self.grants else "YUYV"))
        return 0

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        if self.reads == 0:
            return False, None
        self.reads -= 1
        if self.properties.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            jpeg = encode_jpeg(self.frame, GuardProfile.preset("fd-jpeg"))
            return True, np.frombuffer(jpeg + bytes(100), np.uint8)[None]
        return True, self.frame[:, :, ::-1]

    def release(self) -> None:
        self.opens = False


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel(dict(enumerate(webcam())))
    fake.install(monkeypatch)
    monkeypatch.setattr(Path, "exists", lambda self: True)
    return fake


@pytest.mark.parametrize("mjpg", [True, False])
def test_frames_then_loss(
    scene: NDArray[np.uint8], mjpg: bool, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCapture(scene, mjpg, reads=2)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: fake)
    camera = Camera("/dev/video0")
    frames: list[Any] = []
    with pytest.raises(DeviceError, match="lost after 2 frames"):
        for item in camera.frames():
            frames.append(item)
    assert len(frames) == 2 and all(isinstance(f, Captured) and f.time_source == "received" for f in frames)
    if mjpg:
        assert frames[0].jpeg == encode_jpeg(scene, GuardProfile.preset("fd-jpeg"))
    else:
        assert (frames[0].rgb == scene).all()


def test_a_camera_in_use(
    scene: NDArray[np.uint8], kernel: FakeKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(scene, True, 0, opens=False))
    with pytest.raises(DeviceError, match="cannot be opened: another program may be using it"):
        Camera("/dev/video0")
    held = tmp_path / "device"
    held.touch()
    holder = subprocess.Popen(["sleep", "60"], stdin=held.open())
    try:
        assert users_of(held) == [f"sleep (process {holder.pid})"]
    finally:
        holder.kill()
        holder.wait()


def test_what_is_no_camera_is_refused_before_it_is_opened(kernel: FakeKernel) -> None:
    kernel.nodes = pi_4()
    with pytest.raises(DeviceError, match=r"/dev/video0 \(unicam\) gives no pictures: a raw receiver"):
        Camera("/dev/video0")


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"/dev/video99 is not there \(see edgeguard doctor\)"):
        open_source("v4l2:/dev/video99")
