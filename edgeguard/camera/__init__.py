"""Where frames come from. `open_source` picks the source by the form of its name; each is imported only when used."""

import os
from pathlib import Path

from edgeguard.camera.frame import Captured, Lost, Source
from edgeguard.errors import InputError

__all__ = ["Captured", "Lost", "Source", "open_source"]

_LATER = ("rtsp://", "rtsps://", "serial:", "picamera2:", "synthetic:")


def open_source(spec: int | str | os.PathLike[str]) -> Source:
    """Open a camera index, an image, a folder of images, a video file, or an HTTP MJPEG URL.

    Raises:
        InputError: no such file, an empty one, or a form that this version does not know.
        DeviceError: the camera or the network source is not there, or answers wrongly.

    Example:
        >>> open_source("no-such-file.mp4")
        Traceback (most recent call last):
        edgeguard.errors.InputError: no-such-file.mp4 is not there
    """
    text = os.fspath(spec) if not isinstance(spec, int) else str(spec)
    if text.isdigit():
        from edgeguard.camera.v4l2 import Camera

        return Camera(int(text))
    if text.startswith(("http://", "https://")):
        from edgeguard.camera.http_mjpeg import HttpMjpeg

        return HttpMjpeg(text)
    if text.startswith(_LATER):
        raise InputError(f"{text.split(':')[0]} sources are not in this version: use a camera index, file or http URL")
    return _open_file(Path(text))


def _open_file(path: Path) -> Source:
    from edgeguard.camera.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ImageFiles, VideoFile

    if not path.exists():
        raise InputError(f"{path} is not there")
    if path.is_dir():
        return ImageFiles(path)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path)
    known = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    raise InputError(f"{path} is neither an image nor a video by its suffix ({known})")
