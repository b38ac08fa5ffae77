"""Photographs as a phone would write them, of sheets and of objects without tags, with known truth."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import camera_matrix
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, project
from edgeguard.scene.views import background

_TURNS = {1: 0, 3: 2, 6: 1, 8: 3}  # quarters, anticlockwise, from the upright picture to the stored one


@dataclass(frozen=True)
class Exif:
    """What the header says; None and 0 leave a field out."""

    taken: str | None = "2026:05:01 12:00:00"
    fraction: str | None = None
    zone: str | None = None
    orientation: int = 1
    focal: bool = True


def object_corners(sheet: Sheet, stand: Stand, width: int, height: int) -> NDArray[np.float32]:
    """The true corners of the object's rectangle."""
    half = sheet.object_mm / 2
    flat = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    return project(flat, stand, width, height)


def bare(sheet: Sheet, picture: Picture, stand: Stand, width: int, height: int) -> Picture:
    """The object alone in a scene: no paper, no tags."""
    scene = background(np.random.default_rng(stand.seed), width, height)
    side = picture.shape[0]
    flat = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(flat, object_corners(sheet, stand, width, height))
    warped = cv2.warpPerspective(picture, matrix, (width, height), flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.ones((side, side), np.float32), matrix, (width, height))[:, :, None]
    return np.asarray(np.clip(scene * (1 - cover) + warped * cover, 0, 255), np.uint8)


def tagged(sheet: Sheet, picture: Picture, stand: Stand, width: int, height: int) -> Picture:
    """The sheet in a scene."""
    return SheetPainter(sheet, picture).frame(stand, width, height)


def written(rgb: Picture, suffix: str, exif: Exif, quality: int = 92) -> bytes:
    """The file: turned as the header says, with its time and lens."""
    height, width = rgb.shape[:2]
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(rgb, _TURNS[exif.orientation])))
    header = Image.Exif()
    if exif.orientation != 1:
        header[0x0112] = exif.orientation
    inner = header.get_ifd(0x8769)
    for tag, text in ((0x9003, exif.taken), (0x9291, exif.fraction), (0x9011, exif.zone)):
        if text is not None:
            inner[tag] = text
    if exif.focal:
        focal = camera_matrix(width, height)[0, 0]
        inner[0xA405] = round(float(focal) * float(np.hypot(36, 24)) / float(np.hypot(width, height)))
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".bmp": "BMP"}[suffix]
    stream = io.BytesIO()
    options: dict[str, Any] = {"exif": header.tobytes()} if suffix != ".bmp" else {}
    if suffix in (".jpg", ".webp"):
        options |= {"quality": quality}
    stored.save(stream, kind, **options)
    return stream.getvalue()


def film(path: Path, pictures: list[Picture], fps: float = 30.0) -> None:
    """An MP4 of pictures."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for rgb in pictures:
        writer.write(np.ascontiguousarray(rgb[:, :, ::-1]))
    writer.release()
