"""The V4L2 source against a fake with the documented behaviour of cv2.VideoCapture; it was not run on a device."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Captured
from edgeguard.camera.v4l2 import Camera
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


@pytest.mark.parametrize("mjpg", [True, False])
def test_frames_then_loss(scene: NDArray[np.uint8], mjpg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCapture(scene, mjpg, reads=2)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: fake)
    monkeypatch.setattr(Path, "exists", lambda self: True)
    camera = Camera(0)
    frames: list[Any] = []
    with pytest.raises(DeviceError, match="lost after 2 frames"):
        for item in camera.frames():
            frames.append(item)
    assert len(frames) == 2 and all(isinstance(f, Captured) and f.time_source == "received" for f in frames)
    if mjpg:
        assert frames[0].jpeg == encode_jpeg(scene, GuardProfile.preset("fd-jpeg"))
    else:
        assert (frames[0].rgb == scene).all()


def test_a_camera_in_use(scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: FakeCapture(scene, True, 0, opens=False))
    monkeypatch.setattr(Path, "exists", lambda self: True)
    with pytest.raises(DeviceError, match="cannot be opened"):
        Camera(0)
