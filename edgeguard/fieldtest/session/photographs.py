"""Files that phones and cameras write: what each is, when it was taken, and through which lens."""

import io
import os
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from edgeguard.fieldtest.sheets.cutout import HEIC_BRANDS
from edgeguard.system.walk import walk

Kind = Literal["photograph", "film", "heic", "raw", "other"]
_RAW_SUFFIXES = frozenset({".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf"})
_FILM_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".3gp"})
_TAKEN, _TAKEN_FRACTION, _TAKEN_ZONE, _FOCAL_35_MM = 0x9003, 0x9291, 0x9011, 0xA405
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
#: What is said of a file that is no picture that can be read.
HOW_TO = {
    "heic": "HEIC or AVIF, which is not read: set the phone to JPEG (iPhone: Settings, Camera, Formats, Most "
    "Compatible) and take it again, or convert it to PNG (heif-convert FILE OUT.png, package libheif-examples)",
    "raw": "a raw picture of a camera: import the JPEG that the camera wrote beside it, or develop it to PNG",
    "other": "neither a photograph (JPEG, PNG, WebP, TIFF, BMP) nor a film (MP4, MOV, AVI, MKV, WebM)",
}


@dataclass(frozen=True)
class FoundFile:
    """A file that was given, or lies below a folder that was.

    Attributes:
        path: of it.
        name: as it is shown: below the folder that was given, with that folder's own name.
        problem: why it cannot be read at all; empty where it can.
    """

    path: Path
    name: str
    problem: str = ""

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders that it lies in, the innermost last."""
        return tuple(self.name.split("/")[:-1])


@dataclass(frozen=True)
class Shot:
    """What a photograph says of itself.

    Attributes:
        taken_at: seconds, by the camera's clock (without a time zone as if it were UTC); None where it says nothing.
        focal_35_mm: focal length that would show as much on 35 mm film; None where it says nothing.
    """

    taken_at: float | None = None
    focal_35_mm: float | None = None


def found_files(given: Sequence[Path]) -> Iterator[FoundFile]:
    """All files, those of a folder in byte order of their names; links to folders are not followed."""
    for path in given:
        if path.is_dir():
            yield from _below(path)
        else:
            # the name of the folder that it lies in may say which arm it is
            yield FoundFile(path, _shown(f"{path.absolute().parent.name}/{path.name}"), _problem(path))


def kind_of(head: bytes, suffix: str) -> Kind:
    r"""What a file is, by its first bytes, else by its name's end.

    Args:
        head: at least twelve bytes of it, where it has so many.
        suffix: of its name, with the dot.

    Example:
        >>> kind_of(b"\0\0\0\x18ftypheic", ".jpg")
        'heic'
    """
    suffix = suffix.lower()
    if head[4:8] == b"ftyp":
        return "heic" if head[8:12] in HEIC_BRANDS else "raw" if head[8:12] == b"crx " else "film"
    if suffix in _RAW_SUFFIXES:
        return "raw"
    if head[:2] in (b"\xff\xd8", b"BM") or head[:4] in (b"\x89PNG", b"II*\0", b"MM\0*"):
        return "photograph"
    if head[:4] == b"RIFF":
        return "photograph" if head[8:12] == b"WEBP" else "film" if head[8:12] == b"AVI " else "other"
    if head[:4] == b"\x1a\x45\xdf\xa3" or suffix in _FILM_SUFFIXES:
        return "film"
    return "heic" if suffix in (".heic", ".heif", ".avif") else "other"


def read_shot(data: bytes) -> Shot:
    """Time and lens of a photograph's EXIF header."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                tags = image.getexif().get_ifd(0x8769)
        return Shot(_taken_at(tags), _focal(tags))
    except Exception:  # what a camera writes there is not worth a frame, and parsers raise whatever they like
        return Shot()


def _taken_at(tags: Mapping[int, Any]) -> float | None:
    text = str(tags.get(_TAKEN, "")).strip("\0 ")
    try:
        at = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=_zone(str(tags.get(_TAKEN_ZONE, ""))))
    except ValueError:
        return None
    digits = "".join(c for c in str(tags.get(_TAKEN_FRACTION, "")) if c in "0123456789")[:6]
    return at.timestamp() + (float(f"0.{digits}") if digits else 0.0)


def _zone(text: str) -> timezone:
    """`+02:00` as a time zone; UTC where it is none."""
    sign, hours, minutes = text[:1], text[1:3], text[4:6]
    if sign not in ("+", "-") or not (hours + minutes).isdecimal() or int(hours) > 14 or int(minutes) > 59:
        return UTC
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(shift if sign == "+" else -shift)


def _focal(tags: Mapping[int, Any]) -> float | None:
    value = float(tags.get(_FOCAL_35_MM, 0))
    return value if 5 <= value <= 2000 else None  # what writes 0 does not know


def _below(folder: Path) -> Iterator[FoundFile]:
    base = folder.absolute().name
    for name in sorted((name for name, _ in walk(folder)), key=_place):
        path = folder / name
        yield FoundFile(path, _shown(f"{base}/{name}"), _problem(path))


def _place(name: str) -> list[tuple[bool, bytes]]:
    """For the order: the files of a folder, then its folders, each in byte order of their names."""
    *folders, file = name.split("/")
    return [*((True, os.fsencode(one)) for one in folders), (False, os.fsencode(file))]


def _problem(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "cannot be read: its name holds a NUL"
    if stat.S_ISDIR(mode):
        return "a link to a folder, which is not followed: give that folder itself"
    return "" if stat.S_ISREG(mode) else "a device, a pipe or a socket, and no file"


def _shown(name: str) -> str:
    """Names need not be text; what is not becomes an escape."""
    return name.encode("utf-8", "backslashreplace").decode()
