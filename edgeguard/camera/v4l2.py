"""A camera on this machine, through OpenCV. Kept thin: it was tested against a fake, not on a device."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.frame import Captured, Lost
from edgeguard.errors import DeviceError
from edgeguard.quiet import muted

_SELECT_TIMEOUT_S = 3  # a stalled V4L2 device blocks 10 s by default, whatever the timeout properties say


class Camera:
    """`/dev/videoN`. Motion JPEG is asked for first and then taken as the camera's own bytes; otherwise raw frames."""

    live = True

    def __init__(self, index: int) -> None:
        if not Path(f"/dev/video{index}").exists():
            present = sorted(p.name for p in Path("/dev").glob("video*"))
            hint = f"there are {', '.join(present)}" if present else "no camera is connected (see edgeguard doctor)"
            raise DeviceError(f"camera {index} is not there: no /dev/video{index}; {hint}")
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_SELECT_TIMEOUT_S))
        import cv2

        self.name = f"camera:{index}"
        with muted():
            self._capture = cv2.VideoCapture(index, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise DeviceError(
                f"camera {index} cannot be opened: is another program using it, or are you not in 'video'?"
            )
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        granted = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False)
        self._gives_jpeg = granted == b"MJPG" and bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the camera is lost."""
        index = 0
        while True:
            good, frame = self._capture.read()
            if not good or frame is None:
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
        self._capture.release()
