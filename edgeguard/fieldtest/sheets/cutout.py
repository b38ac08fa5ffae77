"""The picture of a real object: a photograph or scan of it, cut out along its mask, in true proportions."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.sheets.field_object import FULL_OUTLINE, FieldObject, Mount, check_size
from edgeguard.fieldtest.sheets.sheet import Picture, picture_hash
from edgeguard.jpeg.decode import checked_file
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import read_bounded

SMALLEST_PX = 8
_LONGEST_PX = 1024
_ASPECT_TOLERANCE = 0.08
_LARGEST_FILE = 256 << 20
_LONGEST_NAME = 80
_LONGEST_LABEL = 200  # labels of ImageNet list synonyms
#: What stands at byte 8 of HEIC and AVIF files.
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"})
_OPAQUE = 128


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object's pixels, square in millimetres, and where they are the object.

    Attributes:
        rgb: uint8 (h, w, 3).
        alpha: uint8 (h, w), 255 on the object.
    """

    rgb: Picture
    alpha: NDArray[np.uint8]

    @property
    def sha256(self) -> str:
        """Of pixels and mask."""
        return picture_hash(np.dstack([self.rgb, self.alpha]))

    def on_white(self) -> Picture:
        """As it is printed."""
        cover = self.alpha[:, :, None].astype(np.float32) / 255
        return np.asarray(np.rint(self.rgb * cover + 255 * (1 - cover)), np.uint8)


def read_object(
    photo: Path,
    *,
    label: str,
    size_mm: tuple[float, float],
    mask: Path | None = None,
    mount: Mount = "sheet",
) -> tuple[FieldObject, Cutout]:
    """An object from a photograph or scan that shows it from the front.

    Args:
        photo: cut to the object, with a mask, or transparent where the object is not.
        label: the right answer for it.
        size_mm: true width and height of the object (with a mask: of what the mask shows).
        mask: a picture of the photograph's size, white where the object is.
        mount: how it comes before the camera.

    Raises:
        InputError: a file that cannot be read, an empty mask, a mask of another size, an object below 8 pixels, or
            proportions that are not those of `size_mm`.
    """
    width_mm, height_mm = size_mm
    check_size(width_mm, height_mm)
    if not label.strip():
        raise InputError("--label wants the object's name as the model's labels have it")
    if not label.isprintable() or len(label) > _LONGEST_LABEL:
        raise InputError(f"--label {label[:60]!r}: a name of at most {_LONGEST_LABEL} characters, in one line")
    data = photograph_bytes(photo)
    rgb = _decoded(photo, data)
    opaque = opaque_part(data, rgb.shape[:2]) if mask is None else _mask(mask, rgb.shape[:2])
    cover = np.full(rgb.shape[:2], 255, np.uint8) if opaque is None else opaque
    if not cover.any():
        raise InputError(f"{photo} is transparent everywhere: it shows no object")
    rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
    rgb = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cover = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = rgb.shape[:2]
    if min(height, width) < SMALLEST_PX:
        raise InputError(f"{photo}: the object is {width}x{height} pixels there; at least {SMALLEST_PX} are needed")
    if abs(np.log(width / height / (width_mm / height_mm))) > np.log1p(_ASPECT_TOLERANCE):
        raise InputError(
            f"{photo}: the object is {width}x{height} pixels, which is not {width_mm:g}x{height_mm:g} mm: cut the "
            "photograph to the object, give its --mask, or correct --mm"
        )
    scale = min(_LONGEST_PX / max(width_mm, height_mm), max(width / width_mm, height / height_mm))
    size = (max(round(width_mm * scale), SMALLEST_PX), max(round(height_mm * scale), SMALLEST_PX))
    kept = Cutout(_resized(rgb, size), _resized(cover, size))
    outline = FULL_OUTLINE if opaque is None else _outline(kept.alpha)
    name = "".join(letter if letter.isprintable() else "?" for letter in photo.stem)[:_LONGEST_NAME]
    return FieldObject(name, label, width_mm, height_mm, outline, mount, kept.sha256), kept


def picture_of(path: Path) -> Picture:
    """A picture file of the user's, RGB.

    Raises:
        InputError: it cannot be read; for HEIC files the line says what to do.
    """
    return _decoded(path, photograph_bytes(path))


def _decoded(path: Path, data: bytes) -> Picture:
    try:
        return decode_whole(data)
    except JpegError as error:
        raise InputError(f"{path}: {error}") from error


def opaque_part(data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Where a picture file with transparency shows something, uint8 (h, w), 255 or 0; None where nothing is clear.

    What lies below clear pixels is whatever an editor left there; a decoder to RGB brings it to light.

    Args:
        data: of the file, which decodes.
        shape: of the decoded picture.
    """
    import io
    import warnings

    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "TIFF")) as image:
                if "A" not in image.getbands() and "transparency" not in image.info:
                    return None
                alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow reads otherwise has none
        return None
    if alpha.shape != shape[:2] or alpha.min() >= _OPAQUE:
        return None
    return np.where(alpha >= _OPAQUE, 255, 0).astype(np.uint8)


def photograph_bytes(path: Path) -> bytes:
    """A photograph as it lies there, for whoever decodes it.

    Raises:
        InputError: it cannot be read, or is a HEIC or AVIF file; the line says what to do.
    """
    data = read_bounded(path, _LARGEST_FILE, "the photograph")
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        raise InputError(
            f"{path} is a HEIC or AVIF file, which is not read: save it as JPEG "
            "(iPhone: Settings, Camera, Formats, Most Compatible)"
        )
    return data


def write_cutout(path: Path, kept: Cutout) -> None:
    """As a PNG with transparency."""
    bgra = np.dstack([kept.rgb[:, :, ::-1], kept.alpha])
    write_bytes(path, cv2.imencode(".png", bgra)[1].tobytes())


def read_cutout(path: Path, about: FieldObject) -> Cutout:
    """The picture that belongs to an object.

    Raises:
        InputError: it is not there, no picture, or of another object.
    """
    data = read_bounded(path, _LARGEST_FILE, "the object's picture")
    try:
        bgra = cv2.imdecode(np.frombuffer(checked_file(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except JpegError as error:
        raise InputError(f"{path}: {error}") from error
    if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4 or bgra.dtype != np.uint8:
        raise InputError(f"{path} is not the picture of an object: it has no transparency")
    kept = Cutout(np.ascontiguousarray(bgra[:, :, 2::-1]), np.ascontiguousarray(bgra[:, :, 3]))
    if kept.sha256 != about.picture_sha256:
        raise InputError(f"{path} is not the picture of {about.name!r}")
    return kept


def _mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    data = photograph_bytes(path)
    gray = cv2.cvtColor(_decoded(path, data), cv2.COLOR_RGB2GRAY)
    opaque = opaque_part(data, gray.shape)
    if opaque is not None:
        gray = np.minimum(gray, opaque)
    if gray.shape != shape:
        own, wanted = f"{gray.shape[1]}x{gray.shape[0]}", f"{shape[1]}x{shape[0]}"
        raise InputError(f"{path} is {own} pixels, the photograph {wanted}: a mask has its size")
    inside = np.where(gray >= 128, 255, 0).astype(np.uint8)
    if not inside.any():
        raise InputError(f"{path} is empty: a mask is white where the object is")
    return inside


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    shrinks = size[0] <= picture.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _outline(alpha: NDArray[np.uint8]) -> tuple[tuple[float, float], ...]:
    """The convex hull of the mask: what a box is measured by."""
    height, width = alpha.shape
    points = np.argwhere(alpha >= 128)[:, ::-1].astype(np.int32)
    edges = (points[:, None] + np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.int32)).reshape(-1, 2)
    hull = cv2.approxPolyDP(cv2.convexHull(edges), 0.002 * (width + height), True)[:, 0]
    if len(hull) < 3:
        return FULL_OUTLINE
    return tuple((round(float(x) / width - 0.5, 5), round(float(y) / height - 0.5, 5)) for x, y in hull)
