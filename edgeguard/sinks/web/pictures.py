"""The page's pictures, made only when somebody looks, and once for each frame."""

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.jpeg_header import JpegError
from edgeguard.guard.passes import pass_two
from edgeguard.result import FrameResult
from edgeguard.status import RunStatus

_QUALITY = 85
_MAX_SIDE = 960


class Pictures:
    """The last frame as it was received, and as the model's crop was taken from it; at most 960 pixels wide or high."""

    def __init__(self, status: RunStatus) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._made: dict[str, tuple[int, bytes]] = {}

    def raw(self) -> bytes:
        """The received frame; empty where there is none. A camera's own JPEG as it is."""
        last = self._status.last
        if last is None or last.received is None:
            return b""
        if last.received.jpeg is not None:
            return last.received.jpeg
        return self._once("raw", last)

    def sanitized(self) -> bytes:
        """The frame after pass 2."""
        last = self._status.last
        return b"" if last is None or last.received is None else self._once("sanitized", last)

    def _once(self, name: str, last: FrameResult) -> bytes:
        with self._lock:
            made = self._made.get(name)
            if made is None or made[0] != last.frame:
                made = (last.frame, self._make(name, last))
                self._made[name] = made
            return made[1]

    def _make(self, name: str, last: FrameResult) -> bytes:
        assert last.received is not None
        contract = self._status.contract
        try:
            if name == "raw":
                return _encode(last.received.decode())
            return _encode(
                last.rgb if last.rgb is not None else pass_two(last.received, contract, contract.guard.profile)
            )
        except JpegError:
            return b""


def _encode(rgb: NDArray[np.uint8]) -> bytes:
    longest = max(rgb.shape[:2])
    if longest > _MAX_SIDE:
        size = round(rgb.shape[1] * _MAX_SIDE / longest), round(rgb.shape[0] * _MAX_SIDE / longest)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
