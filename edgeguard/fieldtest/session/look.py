"""One file of an import: decoded, its time and lens read, the tags in it found. Runs in worker processes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.files import VideoFile
from edgeguard.camera.source import Captured
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import EdgeGuardError, InputError, JpegError
from edgeguard.fieldtest.session.guide import Situation, judge
from edgeguard.fieldtest.session.photographs import HOW_TO, FoundFile, kind_of, read_shot
from edgeguard.fieldtest.session.place import (
    Corners,
    camera_of,
    corners_from_tags,
    focal_from_35_mm,
    focal_from_field_of_view,
)
from edgeguard.fieldtest.session.plan import Plan, read_plan
from edgeguard.fieldtest.sheets.tags import FoundSheet, Pose, find_sheets
from edgeguard.system.files import sha256_file
from edgeguard.system.foreign import read_bounded

LARGEST = 256 << 20  # bytes of a photograph
_LARGEST_FILM = 64 << 30  # bytes: two hours of the sharpest pictures; each byte is hashed
MOST_OF_A_FILM = 100  # pictures
_SEARCHED_PX = 2000  # longer side of the picture in which tags are looked for first
_TAGS = 4


@dataclass(frozen=True)
class Picture:
    """A photograph or a picture of a film, and what is known of it.

    Attributes:
        key: SHA-256 of the file's bytes, with `#index` for a picture of a film.
        file: that it came from.
        index: of the film's picture; None for a photograph.
        width, height: of the upright picture.
        taken_at: seconds; None where the file does not say.
        focal_px, focal_from: of the lens, and who says so: `option`, `exif` or `plan`.
        situation: what the tags say.
        sheet, pose, tags, corners: of the sheet that its tags name.
        seen: numbers of all sheets of which a tag is seen.
        strangers: of them, those that the session does not have and that show several tags: no phantoms.
    """

    key: str
    file: FoundFile
    index: int | None
    width: int
    height: int
    taken_at: float | None
    focal_px: float
    focal_from: str
    situation: Situation = Situation.EMPTY
    sheet: int | None = None
    pose: Pose | None = None
    tags: int = 0
    corners: Corners | None = None
    seen: tuple[int, ...] = ()
    strangers: tuple[int, ...] = ()


@dataclass(frozen=True)
class NotUsed:
    """A file, or a picture of a film, that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Lens:
    """What a worker needs beside the file.

    Attributes:
        session: folder, for its plan.
        field_of_view_deg: across the longer side, where the user says it; else EXIF's focal length, else the plan's.
        film_fps: pictures that are taken of each second of a film.
    """

    session: str
    field_of_view_deg: float | None
    film_fps: float


def look(lens: Lens, file: FoundFile) -> list[Picture | NotUsed]:
    """What a file holds: a photograph's picture, a film's pictures, or the reason why it is left out."""
    try:
        if file.problem:
            return [NotUsed(file.name, file.problem)]
        with open(file.path, "rb") as stream:
            head = stream.read(16)
        if not head:
            return [NotUsed(file.name, "the file is empty")]
        kind = kind_of(head, file.path.suffix)
        if kind == "photograph":
            return [_photograph(lens, file)]
        if kind == "film":
            return _film(lens, file)
        return [NotUsed(file.name, HOW_TO[kind])]
    except OSError as error:
        return [NotUsed(file.name, f"cannot be read: {error.strerror or error}")]
    except EdgeGuardError as error:
        return [NotUsed(file.name, _without_path(str(error), file))]
    except (cv2.error, MemoryError) as error:
        return [NotUsed(file.name, f"cannot be decoded: {type(error).__name__}")]


def photograph_suffix(data: bytes) -> str:
    """The name's end that a photograph gets in the session, by its bytes."""
    kinds = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))
    return next((suffix for head, suffix in kinds if data.startswith(head)), ".tif")


def film_pictures(path: Path, film_fps: float) -> Iterator[tuple[int, Captured]]:
    """The pictures that are taken of a film, evenly: `film_fps` of each second, at most a hundred.

    Raises:
        InputError: it is no film that can be read.
    """
    film = VideoFile(path)
    try:
        step = max(film.fps / film_fps, 1.0)
        taken = 0
        for item in film.frames():
            if taken >= MOST_OF_A_FILM:
                return
            if item.index >= taken * step - 1e-9:
                taken += 1
                if isinstance(item, Captured):
                    yield item.index, item
    finally:
        film.close()


def film_picture(path: Path, index: int) -> Captured:
    """One picture of a film.

    Raises:
        InputError: it has no such picture.
    """
    film = VideoFile(path)
    try:
        for item in film.frames():
            if item.index == index and isinstance(item, Captured):
                return item
        raise InputError(f"{path} has no picture {index} any more: run the command again")
    finally:
        film.close()


def _photograph(lens: Lens, file: FoundFile) -> Picture | NotUsed:
    data = read_bounded(file.path, LARGEST, "the picture")
    try:
        rgb = decode_whole(data)
    except JpegError as error:
        hint = ": set the phone to fewer megapixels" if "limit" in str(error) else ""
        return NotUsed(file.name, f"does not decode: {error}{hint}")
    shot = read_shot(data)
    height, width = rgb.shape[:2]
    focal, said = _focal(lens, width, height, shot.focal_35_mm)
    return _picture(
        Picture(hashlib.sha256(data).hexdigest(), file, None, width, height, shot.taken_at, focal, said), lens, rgb
    )


def _film(lens: Lens, file: FoundFile) -> list[Picture | NotUsed]:
    digest, found = "", list[Picture | NotUsed]()
    for index, captured in film_pictures(file.path, lens.film_fps):
        digest = digest or sha256_file(file.path, most_bytes=_LARGEST_FILM)
        try:
            rgb = captured.decode()
        except JpegError as error:
            found.append(NotUsed(f"{file.name}#{index}", f"does not decode: {error}"))
            continue
        focal, said = _focal(lens, rgb.shape[1], rgb.shape[0], None)
        height, width = rgb.shape[:2]
        picture = Picture(f"{digest}#{index}", file, index, width, height, captured.captured_at, focal, said)
        found.append(_picture(picture, lens, rgb))
    return found or [NotUsed(file.name, "holds no picture that can be read")]


def _picture(picture: Picture, lens: Lens, rgb: NDArray[np.uint8]) -> Picture:
    """With what its tags say."""
    plan, found = _plan(lens.session), tags_of(rgb)
    seen = judge(rgb, found, plan, camera_of(picture.width, picture.height, picture.focal_px))
    sheet = None if seen.sheet is None else plan.sheet(seen.sheet)
    return replace(
        picture, situation=seen.situation, sheet=seen.sheet, pose=seen.pose, tags=seen.tags,
        corners=None if sheet is None or seen.found is None else corners_from_tags(seen.found, sheet, plan.print_scale),
        seen=tuple(one.number for one in found),
        strangers=tuple(one.number for one in found if plan.sheet(one.number) is None and len(one.corners) > 1),
    )  # fmt: skip


def tags_of(rgb: NDArray[np.uint8]) -> list[FoundSheet]:
    """The sheets in a picture; a large one is first searched at a smaller size, which takes a tenth of the time."""
    scale = max(rgb.shape[:2]) / _SEARCHED_PX
    if scale <= 1.3:
        return find_sheets(rgb)
    size = (round(rgb.shape[1] / scale), round(rgb.shape[0] / scale))
    small = find_sheets(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))
    if small and all(len(sheet.corners) == _TAGS for sheet in small):
        factor = np.array([rgb.shape[1] / size[0], rgb.shape[0] / size[1]], np.float32)
        return [
            FoundSheet(s.number, {place: (c + 0.5) * factor - 0.5 for place, c in s.corners.items()}) for s in small
        ]
    return find_sheets(rgb)


def _focal(lens: Lens, width: int, height: int, focal_35_mm: float | None) -> tuple[float, str]:
    if lens.field_of_view_deg is not None:
        return focal_from_field_of_view(width, height, lens.field_of_view_deg), "option"
    if focal_35_mm is not None:
        return focal_from_35_mm(width, height, focal_35_mm), "exif"
    return focal_from_field_of_view(width, height, _plan(lens.session).field_of_view_deg), "plan"


@lru_cache(maxsize=2)
def _plan(session: str) -> Plan:
    return read_plan(Path(session))


def _without_path(text: str, file: FoundFile) -> str:
    for name in (str(file.path.absolute()), str(file.path)):
        text = text.replace(name, "it")
    return text


def read_again(picture: Picture) -> bytes:
    """A photograph's bytes, when it is stored.

    Raises:
        InputError: the file changed since it was looked at.
    """
    data = read_bounded(picture.file.path, LARGEST, "the picture")
    if hashlib.sha256(data).hexdigest() != picture.key:
        raise InputError(f"{picture.file.name} changed while it was imported: run the command again")
    return data
