"""Where frames come from. `open_source` picks the source by the form of its name; each is imported only when used."""

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

from edgeguard.camera.source import Applied, Captured, Lost, Source
from edgeguard.errors import InputError

__all__ = ["Applied", "Captured", "Lost", "Source", "mistyped_source", "names_a_file", "open_source", "source_opener"]


#: Beginnings of names that are no files: cameras, streams, rendered scenes.
_SCHEMES = (
    "v4l2:", "picamera2:", "http://", "https://", "rtsp://", "rtsps://", "serial:", "synthetic:", "microphone:",
)  # fmt: skip
_OTHER_PICTURES = frozenset({".heic", ".heif", ".avif", ".gif", ".jxl", ".dng", ".cr2", ".nef", ".arw"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[A-Za-z0-9.-]+(?=:\d))(?::\d{1,5})?(?:/|$)")


def names_a_file(spec: int | str | os.PathLike[str]) -> bool:
    """True where `open_source` takes a name for a file or a folder, whether it is there or not.

    Example:
        >>> names_a_file("clip.avi"), names_a_file("0"), names_a_file("./0"), names_a_file("rtsp://camera/")
        (True, False, True, False)
    """
    text = _text_of(spec)
    return not text.isdecimal() and not text.startswith(_SCHEMES)


def open_source(
    spec: int | str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    key: bytes | None = None,
    poll_s: float | None = None,
) -> Source:
    """Open a camera index, an image, a folder of images, a video file, a URL, or rendered scenes.

    Args:
        spec: `0` (the first usable camera), `v4l2:/dev/video0`, `picamera2:0`, `clip.mp4`, `folder/`, `http://...`
            (Motion JPEG), `rtsp://...`, `serial:vc0706:PORT`, `serial:openmv:PORT`,
            `serial:openmv-vcp:PORT`, `synthetic:cards`.
        size, fps: asked of local cameras; `applied` says what they granted.
        key: shared with an `edgeguard sensor`; only what it sealed is taken.
        poll_s: the URL gives one still picture: ask for it every so many seconds.

    Raises:
        InputError: no such file, an empty one, or a form that this version does not know.
        DeviceError: the camera or the network source is not there, or answers wrongly.

    Example:
        >>> open_source("no-such-file.mp4")
        Traceback (most recent call last):
        edgeguard.errors.InputError: no-such-file.mp4 is not there
    """
    text = _text_of(spec)
    if key is not None and not text.startswith(("http://", "https://")):
        raise InputError(f"a key is for the stream of an edgeguard sensor (http://), not for {text}")
    if poll_s is not None and (key is not None or not text.startswith(("http://", "https://"))):
        raise InputError(f"--poll is for the http:// URL of a still picture, not for {'a sensor' if key else text}")
    if text.isdecimal():
        from edgeguard.camera.local import NumberedCamera

        return NumberedCamera(int(text), size, fps).open()
    if text.startswith(("v4l2:", "picamera2:")):
        from edgeguard.camera.local import open_exactly

        return open_exactly(text, size=size, fps=fps)
    if size is not None or fps is not None:
        raise InputError(f"a size and a frame rate can be asked of local cameras only, not of {text}")
    if poll_s is not None:
        from edgeguard.camera.http_still import HttpStill

        return HttpStill(text, poll_s)
    if text.startswith(("http://", "https://")):
        from edgeguard.camera.http_mjpeg import HttpMjpeg

        return HttpMjpeg(text, key=key)
    if text.startswith(("rtsp://", "rtsps://")):
        from edgeguard.camera.rtsp import Rtsp

        return Rtsp(text)
    if text.partition("?")[0] == "synthetic:cards":
        from edgeguard.camera.synthetic import SyntheticCards

        return SyntheticCards(text)
    if text.startswith("synthetic:"):
        raise InputError(f"{text} is not known: synthetic:cards, or synthetic:field?... (see edgeguard fieldtest)")
    if text.startswith("serial:"):
        return _open_serial(text)
    return _open_file(text)


def source_opener(
    spec: int | str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    key: bytes | None = None,
    poll_s: float | None = None,
) -> Callable[[], Source]:
    """What opens a source, and opens it again after a loss: a numbered camera stays the one that it was at first.

    Args:
        spec, size, fps, key, poll_s: as for `open_source`.

    Returns:
        A function that raises as `open_source` does.
    """
    text = os.fspath(spec) if not isinstance(spec, int) else str(spec)
    if text.isdecimal() and key is None and poll_s is None:
        from edgeguard.camera.local import NumberedCamera

        return NumberedCamera(int(text), size, fps).open
    return lambda: open_source(spec, size=size, fps=fps, key=key, poll_s=poll_s)


def _open_serial(text: str) -> Source:
    if text.startswith("serial:vc0706:"):
        from edgeguard.camera.vc0706.source import Vc0706

        return Vc0706(text)
    if text.startswith("serial:openmv:"):
        from edgeguard.camera.openmv.source import OpenMv

        return OpenMv(text)
    if text.startswith("serial:openmv-vcp:"):
        from edgeguard.camera.openmv.source import OpenMvVcp

        return OpenMvVcp(text)
    raise InputError(f"{text} is not known: serial:vc0706:PORT, serial:openmv:PORT or serial:openmv-vcp:PORT")


def _text_of(spec: int | str | os.PathLike[str]) -> str:
    """A source's name; an address's scheme in small letters, as addresses have it."""
    text = os.fspath(spec) if not isinstance(spec, int) else str(spec)
    scheme, mark, rest = text.partition("://")
    return f"{scheme.lower()}://{rest}" if mark and f"{scheme.lower()}://" in _SCHEMES else text


def _refuse_addresses(text: str) -> None:
    """What gives no pictures, and what is meant as an address and is none that is known: say so, without what it may
    hold of a password."""
    if text.startswith("microphone:"):
        raise InputError(f"{text} gives sound, and the model sees pictures")
    if mistyped := mistyped_source(text):
        raise InputError(mistyped)
    host = text.rpartition("@")[2].partition("?")[0]
    if _HOST.match(host):
        raise InputError(f"{host} is not there; if it is a camera's address, write http:// or rtsp:// before it")


def mistyped_source(text: str) -> str | None:
    """What a name is told that begins nearly like a camera or rendered scenes, or as an address that is none we know;
    None for all others. Nothing is opened.

    Example:
        >>> mistyped_source("syntetic:cards")
        'syntetic:cards is not there: do you mean synthetic:cards?'
        >>> mistyped_source("synthetic:cards"), mistyped_source("film.mp4")
        (None, None)
    """
    scheme, mark, rest = text.partition(":")
    if not mark or not _SCHEME.fullmatch(scheme) or text.startswith(_SCHEMES) or Path(text).exists():
        return None
    if rest.startswith("//"):
        return f"a source of {scheme}:// is not known: use http:// for Motion JPEG and still pictures, rtsp://"
    near = difflib.get_close_matches(scheme, [one[:-1] for one in _SCHEMES if not one.endswith("/")], 1, 0.75)
    return f"{text} is not there: do you mean {near[0]}:{rest}?" if near else None


def _open_file(text: str) -> Source:
    from edgeguard.camera.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ImageFiles, VideoFile

    path = Path(text)
    if not path.exists():
        _refuse_addresses(text)
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
    hint = "; save it as JPEG or PNG" if path.suffix.lower() in _OTHER_PICTURES else ""
    raise InputError(f"{path} is neither an image nor a video by its suffix ({known}){hint}")
