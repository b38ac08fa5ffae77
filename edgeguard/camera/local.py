"""Cameras of this machine: which there are, and which one `--camera N` is.

A number counts usable cameras: V4L2 nodes that give pictures, in the order of their numbers, then the Pi's own cameras.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeguard.camera.picamera2_import import picamera2_class, system_has_it
from edgeguard.camera.source import Source
from edgeguard.camera.v4l2_nodes import VideoNode, video_nodes
from edgeguard.errors import DeviceError, InputError

_log = logging.getLogger(__name__)
#: libcamera makes the pictures of every Pi camera, whatever its sensor gives.
_MADE = ("RGB by libcamera",)


@dataclass(frozen=True)
class LocalCamera:
    """A camera that gives pictures.

    Attributes:
        source: the exact name for `--source`: `v4l2:/dev/video2`, `picamera2:0`.
        name: of the product or the sensor.
        place: where it is connected, which stays the same when it is plugged in again at the same place.
        formats: fourcc codes; of a Pi camera what EdgeGuard takes from libcamera.
        node: of a V4L2 camera.
    """

    source: str
    name: str
    place: str
    formats: tuple[str, ...] = ()
    node: VideoNode | None = None

    def comes_before(self, node: VideoNode) -> bool:
        """Whether `--camera` counts it before a node."""
        return self.node is not None and self.node.number < node.number

    def __str__(self) -> str:
        what = f"{self.source}, {self.name}" if self.name else self.source
        return f"{what} at {self.place}" if self.place else what


@dataclass(frozen=True)
class LocalCameras:
    """What was found.

    Attributes:
        usable: by their numbers for `--camera`.
        passed_over: the nodes that are none, each with its reason.
        advice: what to do so that the Pi's cameras can be used; empty where nothing is to be done.
    """

    usable: tuple[LocalCamera, ...]
    passed_over: tuple[VideoNode, ...]
    advice: str = ""


def local_cameras() -> LocalCameras:
    """Look at every video node and ask picamera2, where it is installed."""
    nodes = video_nodes()
    usable = [
        LocalCamera(f"v4l2:{node.path}", node.card, node.bus, node.formats, node)
        for node in nodes
        if not node.passed_over
    ]
    found, advice = _pi_cameras(any(node.receives_a_sensor for node in nodes))
    return LocalCameras((*usable, *found), tuple(node for node in nodes if node.passed_over), advice)


class NumberedCamera:
    """`--camera N`: opens the N-th usable camera, and after a loss the same one again, whatever its number is then.

    Args:
        number: from 0.
        size, fps: asked of the camera.
    """

    def __init__(self, number: int, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        self._number, self._size, self._fps = number, size, fps
        self._chosen: LocalCamera | None = None
        self._only_one_of_its_name = False

    def open(self) -> Source:
        """Open it.

        Raises:
            DeviceError: it is not there, or cannot be opened.
        """
        first = self._chosen is None
        self._chosen = chosen = self._find()
        source = open_exactly(chosen.source, name=f"camera:{self._number}", size=self._size, fps=self._fps)
        if first:
            _log.info("camera %d is %s", self._number, chosen)
        return source

    def _find(self) -> LocalCamera:
        cameras = local_cameras()
        known = self._chosen
        if known is None:
            found = _numbered(cameras, self._number)
            self._only_one_of_its_name = sum(c.name == found.name for c in cameras.usable) == 1
            return found
        namesakes = [c for c in cameras.usable if c.name == known.name]
        same = [c for c in namesakes if c.place == known.place]
        if not same and self._only_one_of_its_name and len(namesakes) == 1:  # at another socket now
            return namesakes[0]
        if not same:
            raise DeviceError(f"camera {self._number} ({known}) is not there")
        return next((c for c in same if c.source == known.source), same[0])


def open_exactly(source: str, *, size: tuple[int, int] | None, fps: float | None, name: str | None = None) -> Source:
    """Open `v4l2:PATH` or `picamera2:N`, under a name for the results (by default its own).

    Raises:
        InputError: no such form.
        DeviceError: it is not there, or cannot be opened.
    """
    kind, _, rest = source.partition(":")
    if kind == "picamera2":
        if not rest.isdecimal():
            raise InputError(f"{source}: wanted picamera2:N")
        from edgeguard.camera.picamera import PiCamera

        return PiCamera(int(rest), size, fps, name=name)
    if not rest.startswith("/dev/"):
        raise InputError(f"{source}: wanted v4l2:/dev/videoN, or a link under /dev/v4l")
    from edgeguard.camera.v4l2 import Camera

    return Camera(rest, size, fps, name=name)


def _numbered(cameras: LocalCameras, number: int) -> LocalCamera:
    found = cameras.usable[number] if number < len(cameras.usable) else None
    for node in cameras.passed_over:
        if node.denied and (found is None or not found.comes_before(node)):
            # Which camera the number means cannot be told when one before it may not be looked at.
            raise DeviceError(f"camera {number} cannot be told: {node.path}: {node.passed_over}")
    if found is not None:
        return found
    raise DeviceError(f"camera {number} is not there: {_what_there_is(cameras)} (see edgeguard doctor)")


def _what_there_is(cameras: LocalCameras) -> str:
    if cameras.usable:
        listed = "; ".join(f"{n} is {camera}" for n, camera in enumerate(cameras.usable))
        found = f"there {'are' if len(cameras.usable) > 1 else 'is'} {len(cameras.usable)}: {listed}"
    elif cameras.passed_over:
        found = f"none of {_names(cameras.passed_over)} is a camera that gives pictures"
    else:
        found = "no camera is connected"
    return f"{found}; {cameras.advice}" if cameras.advice else found


def _names(nodes: Sequence[VideoNode]) -> str:
    return ", ".join(str(node.path) for node in nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")


def _pi_cameras(receiver: bool) -> tuple[list[LocalCamera], str]:
    """The cameras that picamera2 knows, or what to do where a receiver of a sensor is there and picamera2 is not."""
    try:
        picamera2 = picamera2_class()
    except DeviceError as error:
        return [], str(error) if receiver or system_has_it() else ""
    try:
        told: list[dict[str, Any]] = picamera2.global_camera_info()
    except Exception as error:  # libcamera's own
        return [], f"picamera2 cannot list its cameras ({error}): see rpicam-hello --list-cameras"
    # USB cameras are on libcamera's list as well; they are V4L2 nodes that were counted already.
    own = [(told_number, one) for told_number, one in enumerate(told) if "/usb" not in str(one.get("Id", ""))]
    return [
        LocalCamera(f"picamera2:{one.get('Num', number)}", str(one.get("Model", "")), str(one.get("Id", "")), _MADE)
        for number, one in own
    ], ""
