"""The Pi's own cameras through picamera2 (libcamera). Kept thin: it was tested against a fake, not on a device."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.camera.picamera2_import import picamera2_class
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.v4l2_nodes import users_of
from edgeguard.errors import DeviceError

_DEFAULT_SIZE = (1280, 720)


class PiCamera:
    """Raw RGB frames with the sensor's own time and exposure.

    picamera2 is Raspberry Pi OS's package and not on the package index: it is imported when a camera is opened.

    Args:
        index: of the camera, as `rpicam-hello --list-cameras` counts them.
        size: width and height.
        fps: frames a second.
        name: for the results; by default `picamera2:` and the index.
    """

    live = True

    def __init__(
        self,
        index: int,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self.name = name or f"picamera2:{index}"
        self._camera = _open(index)
        wanted = size or _DEFAULT_SIZE
        controls = {} if fps is None else {"FrameRate": fps}
        try:
            # "BGR888" is libcamera's name for what numpy sees as R, G, B
            main = {"size": wanted, "format": "BGR888"}
            self._camera.configure(self._camera.create_video_configuration(main=main, controls=controls))
            self._camera.start()
            granted = self._camera.camera_configuration()["main"]["size"]
        except Exception as error:
            self.close()
            raise DeviceError(f"{self.name} cannot be set up: {error}") from error
        self.applied = Applied(int(granted[0]), int(granted[1]), "RGB", fps)
        self._closed = False

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the camera is lost."""
        index = 0
        while not self._closed:
            try:
                request = self._camera.capture_request()
                try:
                    rgb, metadata = np.ascontiguousarray(request.make_array("main")), request.get_metadata()
                finally:
                    request.release()
            except Exception as error:
                raise DeviceError(f"{self.name} was lost after {index} frames: {error}") from error
            yield self._captured(index, rgb, metadata)
            index += 1

    def close(self) -> None:
        """Stop and release the camera."""
        self._closed = True
        self._camera.stop()
        self._camera.close()

    def _captured(self, index: int, rgb: Any, metadata: dict[str, Any]) -> Captured:
        if "SensorTimestamp" not in metadata:
            return Captured(index, self.name, None, rgb, time.time(), "received")
        age_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(metadata["SensorTimestamp"])) / 1e9
        return Captured(index, self.name, None, rgb, time.time() - max(age_s, 0.0), "source")


def _open(index: int) -> Any:
    picamera2 = picamera2_class()
    try:
        return picamera2(index)
    except IndexError as error:
        raise DeviceError(f"picamera2:{index} is not there ({error}): see rpicam-hello --list-cameras") from error
    except RuntimeError as error:
        raise DeviceError(f"picamera2:{index} cannot be opened ({error}): {_who_has_it()}") from error


def _who_has_it() -> str:
    """libcamera takes the media devices of a camera for one program, and its errors name nobody."""
    users = sorted({user for device in _media_devices() for user in users_of(device)})
    if users:
        return f"{', '.join(users)} has it open; a camera serves one program at a time"
    return "another program may be using it (sudo fuser -v /dev/media* shows which), or see rpicam-hello --list-cameras"


def _media_devices() -> list[Path]:
    return list(Path("/dev").glob("media*"))
