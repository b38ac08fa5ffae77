"""Images, folders of images, and video files."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeguard.camera.lossless import from_png
from edgeguard.camera.opencv_capture import MOST_PIXELS, ffmpeg_options
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.errors import InputError, JpegError
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.jpeg.seal import is_sealed_png
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.names import utf8_path
from edgeguard.system.redirect import muted

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"})
_SLOWEST, _FASTEST = 1e-6, 1e6  # frames a second: a picture in eleven days, and one in a microsecond
#: A playlist or a list of files, whatever its name, would let FFmpeg read other files and open connections.
_SHUT = "protocol_whitelist;file|format_whitelist;avi,mov,mp4,matroska,webm"


class ImageFiles:
    """One image, or all images of a folder in byte order of their names; other files are ignored by suffix."""

    live = False
    applied = Applied()

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if path.is_dir():
            found = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
            if not found:
                within = next((one for one in sorted(path.iterdir()) if one.is_dir()), None)
                hint = "" if within is None else f"; folders within it are not read: give one of them ({within})"
                raise InputError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}){hint}")
            self._paths = sorted(found, key=lambda entry: os.fsencode(entry.name))
        else:
            self._paths = [path]

    def __len__(self) -> int:
        return len(self._paths)

    def frames(self) -> Iterator[Captured | Lost]:
        """JPEG files and a sensor's PNG keep their bytes, others come decoded; what does not decode is `Lost`."""
        for index, path in enumerate(self._paths):
            try:
                data = read_bounded(path, LARGEST_PICTURE, "the picture")
                taken_at = path.stat().st_mtime
                if data[:2] == b"\xff\xd8":
                    read_whole_jpeg(data)
                    yield Captured(index, path.name, data, None, taken_at, "source")
                elif is_sealed_png(data):
                    yield from_png(index, path.name, data, taken_at, "source")
                else:
                    yield Captured(index, path.name, None, decode_rgb(data), taken_at, "source")
            except (JpegError, InputError) as error:
                yield Lost(index, path.name, str(error))
            except OSError as error:
                yield Lost(index, path.name, error.strerror or str(error))

    def close(self) -> None:
        """Nothing stays open."""


class VideoFile:
    """A video file, every frame. Motion JPEG keeps the camera's own bytes, other codecs are decoded by FFmpeg.

    Args:
        path: of an AVI, MP4, QuickTime, Matroska or WebM file; nothing else is read, nor what the file refers to.

    Raises:
        InputError: it is none of these, its frames have more than 64 million pixels, or none can be read.
    """

    live = False

    def __init__(self, path: Path) -> None:
        import cv2

        if not path.is_file():
            raise InputError(f"{path} is no plain file: FFmpeg would wait for a pipe, and read a device without end")
        self.name = path.name
        self._path = path
        self._motion_jpeg = False
        with muted(), ffmpeg_options(_SHUT):
            self._capture = cv2.VideoCapture(utf8_path(path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise InputError(f"{path} is not a video that can be read (AVI, MP4, QuickTime, Matroska or WebM)")
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False)
        # Packets as they are: from .avi only, other containers give the first one only.
        if fourcc.upper() == b"MJPG" and path.suffix.lower() == ".avi":
            self._motion_jpeg = bool(self._capture.set(cv2.CAP_PROP_FORMAT, -1))
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0
        if not _SLOWEST <= self.fps <= _FASTEST:  # its frames would have times that no calendar has
            self.close()
            raise InputError(f"{path} says that it has {self.fps:g} frames a second: make the film again")
        width, height = (int(self._capture.get(k)) for k in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self._check_size(width * height)
        self.applied = Applied(width, height, fourcc.decode("ascii", "replace"), self.fps)

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames in order; their time is the file's time plus their place in the film."""
        start = self._path.stat().st_mtime
        index = 0
        while True:
            good, frame = self._capture.read()
            if not good:
                break
            at = start + index / self.fps
            self._check_size(frame.size // 3)  # it may change within a film
            if self._motion_jpeg:
                yield from_jpeg(index, self.name, frame.tobytes(), at, "source")
            else:
                yield Captured(index, self.name, None, np.ascontiguousarray(frame[:, :, ::-1]), at, "source")
            index += 1
        if index == 0:
            raise InputError(f"{self._path} holds no frame that can be read")

    def close(self) -> None:
        """Release the file."""
        self._capture.release()

    def _check_size(self, pixels: int) -> None:
        if pixels > MOST_PIXELS:
            self.close()
            raise InputError(f"{self._path} has frames of {pixels} pixels, more than {MOST_PIXELS}")


def from_jpeg(
    index: int, source: str, data: bytes, at: float | None = None, clock: str = "received"
) -> Captured | Lost:
    """A camera's JPEG as a frame, or `Lost` when its headers are damaged or it ends early."""
    try:
        read_whole_jpeg(data)
    except JpegError as error:
        return Lost(index, source, str(error))
    taken_at = time.time() if at is None else at
    return Captured(index, source, data, None, taken_at, "source" if clock == "source" else "received")


def from_image(index: int, source: str, data: bytes) -> Captured | Lost:
    """A camera's picture of whatever format: a JPEG keeps its bytes, others are decoded to a raw frame."""
    if data[:2] == b"\xff\xd8":
        return from_jpeg(index, source, data)
    try:
        return Captured(index, source, None, decode_rgb(data), time.time(), "received")
    except JpegError as error:
        return Lost(index, source, str(error))
