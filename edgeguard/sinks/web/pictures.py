"""The page's pictures, made only when somebody looks, and once for each frame."""

import threading
from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.model.input_path import InputPath
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.reporting.shown import size_at_most
from edgeguard.sinks.class_colors import color_of, colored

_QUALITY = 85
_MAX_SIDE = 960
_KEPT = 4


class Pictures:
    """Frames as they were received, and as the model's crop was taken from them; at most 960 pixels wide or high.

    A page asks for the pictures of the result that it shows, and not for those of a later one: what it was told of is
    kept for a moment.
    """

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._told: deque[FrameResult] = deque(maxlen=_KEPT)
        self._made: dict[tuple[str, int], bytes] = {}

    def tell(self) -> FrameResult | None:
        """The last result; its pictures can be asked for."""
        last = self._status.last
        with self._lock:
            if last is not None and (not self._told or self._told[-1].frame != last.frame):
                self._told.append(last)
                kept = {result.frame for result in self._told}
                self._made = {key: jpeg for key, jpeg in self._made.items() if key[1] in kept}
        return last

    def raw(self, frame: int | None = None) -> bytes:
        """A received frame that was told of (the last by default); empty where it is gone. A camera's JPEG as it is."""
        result = self._find(frame)
        if result is None or result.received is None:
            return b""
        return result.received.jpeg if result.received.jpeg is not None else self._once("raw", result)

    def sanitized(self, frame: int | None = None) -> bytes:
        """The frame after pass 2."""
        result = self._find(frame)
        return b"" if result is None or result.received is None else self._once("sanitized", result)

    def annotated(self) -> bytes:
        """The last frame as it was received, with what the model saw drawn on it."""
        last = self.tell()
        return b"" if last is None or last.received is None else self._once("annotated", last)

    def mask(self, frame: int | None = None) -> bytes:
        """The classes of a segmentation as a PNG in colors, of the part of the frame that `mask_to_dict` says; empty
        where there are none."""
        result = self._find(frame)
        return b"" if result is None or result.prediction.class_map is None else self._once("mask", result)

    def _find(self, frame: int | None) -> FrameResult | None:
        if frame is None:
            return self.tell()
        with self._lock:
            return next((result for result in self._told if result.frame == frame), None)

    def _once(self, name: str, result: FrameResult) -> bytes:
        with self._lock:
            key = (name, result.frame)
            if key not in self._made:
                self._made[key] = self._make(name, result)
            return self._made[key]

    def _make(self, name: str, last: FrameResult) -> bytes:
        if name == "mask":
            assert last.prediction.class_map is not None
            bgra = np.ascontiguousarray(colored(last.prediction.class_map.classes)[:, :, [2, 1, 0, 3]])
            return cv2.imencode(".png", bgra)[1].tobytes()
        assert last.received is not None
        contract = self._status.contract
        try:
            if name == "annotated":
                return _annotated(last)
            if name == "raw":
                return _encode(last.received.picture())
            return _encode(last.rgb if last.rgb is not None else InputPath(contract).frame(last.received))
        except JpegError:
            return b""


def mask_to_dict(last: FrameResult | None) -> dict[str, Any] | None:
    """Where the mask of a segmentation lies, in the frame's pixels, and the color of each class that it shows."""
    if last is None or last.prediction.class_map is None:
        return None
    seen, shares = last.prediction.class_map, last.prediction.shares or ()
    colors = {str(share.index): f"rgb{color}" for share in shares if (color := color_of(share.index)) is not None}
    return {"x1": seen.x1, "y1": seen.y1, "x2": seen.x2, "y2": seen.y2, "colors": colors}


def _annotated(last: FrameResult) -> bytes:
    from edgeguard.sinks.overlay import draw_seen

    assert last.received is not None
    picture = last.received.picture()
    size = size_at_most(picture.shape[1], picture.shape[0], _MAX_SIDE)
    scale = max(size) / max(picture.shape[:2])
    picture = np.array(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    draw_seen(picture, len(picture), last.prediction, scale)
    return _encode(picture)


def _encode(rgb: NDArray[np.uint8]) -> bytes:
    size = size_at_most(rgb.shape[1], rgb.shape[0], _MAX_SIDE)
    if size != rgb.shape[1::-1]:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
