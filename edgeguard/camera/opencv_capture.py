"""A cv2.VideoCapture that may be closed from another thread: release during read crashes, so it waits for the read.

And the doors of the FFmpeg behind it: it follows playlists, redirects and references to other files and protocols
unless it is told which demuxers and protocols it may use.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.system.names import utf8_path

#: Pixels of a frame that FFmpeg decodes; more are refused.
MOST_PIXELS = 64_000_000
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_opening = threading.Lock()  # the options are one environment variable of the whole process


@contextmanager
def ffmpeg_options(options: str) -> Iterator[None]:
    """While open, captures of this process begin with these options of FFmpeg, written `name;value|name;value`.

    A process has one such setting: others wait until it is free again.
    """
    with _opening:
        before = os.environ.get(_OPTIONS)
        os.environ[_OPTIONS] = options
        try:
            yield
        finally:
            os.environ.pop(_OPTIONS) if before is None else os.environ.__setitem__(_OPTIONS, before)


class OpenCvCapture:
    """Reads frames or packets; every call after `close` fails like a lost camera.

    Args:
        arguments: of cv2.VideoCapture.

    Raises:
        InputError: a path or address is no UTF-8.
    """

    def __init__(self, *arguments: Any) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when FFmpeg is first used; -8 is its "quiet"
        import cv2

        cv2.utils.logging.setLogLevel(0)
        self._reading = threading.Lock()
        self._closed = False
        self._capture = cv2.VideoCapture(*(utf8_path(a) if isinstance(a, str) else a for a in arguments))

    @property
    def opened(self) -> bool:
        """Whether OpenCV could open it."""
        return bool(self._capture.isOpened())

    def get(self, key: int) -> float:
        """A property, as OpenCV gives it."""
        return float(self._capture.get(key))

    def set(self, key: int, value: float) -> bool:
        """Whether OpenCV took a property."""
        return bool(self._capture.set(key, value))

    @property
    def fourcc(self) -> str:
        """The codec's four letters; empty where there is none."""
        import cv2

        code = int(self.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if code else ""

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame or packet; None when there is none."""
        with self._reading:
            if self._closed:
                return None
            good, frame = self._capture.read()
        return np.asarray(frame, np.uint8) if good and frame is not None else None

    def close(self) -> None:
        """Release it, now or by the next call of `read` or `close` where one is under way in another thread."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._capture.release()
            finally:
                self._reading.release()
