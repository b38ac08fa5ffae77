"""A camera on this machine, through OpenCV. Kept thin: it was tested against a fake, not on a device."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.opencv_capture import OpenCvCapture
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.v4l2_nodes import read_node, who_has
from edgeguard.errors import DeviceError

_SELECT_TIMEOUT_S = 3  # a stalled V4L2 device blocks 10 s by default, whatever the timeout properties say


class Camera:
    """A V4L2 device. Motion JPEG is asked for first and then taken as the camera's own bytes; otherwise raw frames.

    Args:
        device: `/dev/video0`, or a link to it such as those under /dev/v4l/by-id.
        size: width and height to ask for; the camera may grant others.
        fps: frames a second to ask for.
        name: for the results; by default `v4l2:` and the device.

    Raises:
        DeviceError: it is not there, is no camera, is in use, or may not be opened.
    """

    live = True

    def __init__(
        self,
        device: str,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self.name = name or f"v4l2:{device}"
        _check(device)
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_SELECT_TIMEOUT_S))
        import cv2

        self._capture = OpenCvCapture(str(Path(device).resolve()), cv2.CAP_V4L2)
        if not self._capture.opened:
            raise DeviceError(f"{device} cannot be opened: {who_has(Path(device))}")
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, fps)
        granted = self._capture.fourcc
        self._gives_jpeg = granted == "MJPG" and self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        width, height = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.applied = Applied(int(width) or None, int(height) or None, granted or None, rate if rate > 0 else None)

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the camera is lost."""
        index = 0
        while True:
            frame = self._capture.read()
            if frame is None:
                raise DeviceError(f"{self.name} was lost after {index} frames")
            if self._gives_jpeg and frame.size and frame.ravel()[:2].tobytes() == b"\xff\xd8":
                yield from_jpeg(index, self.name, frame.tobytes().rstrip(b"\0"))
            elif frame.ndim == 3 and frame.shape[2] == 3:
                yield Captured(index, self.name, None, np.ascontiguousarray(frame[:, :, ::-1]), time.time(), "received")
            else:
                yield Lost(index, self.name, f"the driver gave a buffer of shape {frame.shape}, neither JPEG nor RGB")
            index += 1

    def close(self) -> None:
        """Release the device."""
        self._capture.close()


def _check(device: str) -> None:
    """Refuse what is no camera before OpenCV tries it: a raw receiver would only stall."""
    path = Path(device)
    if not path.exists():
        raise DeviceError(f"{device} is not there (see edgeguard doctor)")
    node = read_node(path)
    if node.passed_over:
        named = f"{device} ({node.card})" if node.card else device
        raise DeviceError(f"{named} gives no pictures: {node.passed_over}")
