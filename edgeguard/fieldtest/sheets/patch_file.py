"""A patch as files: `patch.png`, and `patch.json` that says what it was made for, how, and with which budget."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import cv2
from msgspec import Meta

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.sheets.field_object import FieldObject, parse_field_object
from edgeguard.fieldtest.sheets.sheet import Picture
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import LARGEST_PICTURE, foreign_json, of_type, parsing, read_regular

SCHEMA = 1
_LARGEST = 1 << 20  # bytes of patch.json
_Share: TypeAlias = Annotated[float, Meta(ge=-1, le=1)]
_LATER = ("mode", "about", "more_centers", "printer_sha256")


@dataclass(frozen=True)
class PatchFile:
    """The manifest of a patch.

    Attributes:
        object: the card, or the folder of photographs, that it was made on.
        target: the label it aims at; None for any wrong one.
        model_sha256: of the .tflite or program that it was made on.
        through_guard: the profile (name, SHA-256) or patch guard that it was made through; None for none.
        side_share: side of its square, share of the object's side.
        center_share: of its middle from the object's middle, shares of the object's side.
        shape: see `sheet.mask_of`.
        steps, batch, seed: what it cost.
        picture_sha256: of patch.png's pixels.
        mode: what it wants of a detector: vanish, mislabel or create; None for a classifier's.
        about: the real object that it was made for; None for a card or photographs.
        more_centers: of further stickers; patch.png holds all, side by side, and each is as large as the first.
        printer_sha256: of the printer.json that it was made through; None for the built-in guess.

    The side is a share of the side of the square that has the object's area, the middle one of width and height.
    """

    object: str
    target: str | None
    model_sha256: str
    through_guard: str | None
    side_share: Annotated[float, Meta(gt=0, le=1)]
    center_share: tuple[_Share, _Share]
    shape: str
    steps: Annotated[int, Meta(ge=0)]
    batch: Annotated[int, Meta(ge=0)]
    seed: int
    picture_sha256: str
    schema: int = SCHEMA
    mode: str | None = None
    about: FieldObject | None = None
    more_centers: tuple[tuple[_Share, _Share], ...] = ()
    printer_sha256: str | None = None

    @property
    def centers(self) -> tuple[tuple[float, float], ...]:
        """Of all stickers."""
        return (self.center_share, *self.more_centers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what came later (`mode`, `about`, ...) stands there only where it says something."""
        return {key: value for key, value in asdict(self).items() if key not in _LATER or value}

    @property
    def sha256(self) -> str:
        """Of the manifest."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def write_patch(folder: Path, about: PatchFile, picture: Picture) -> None:
    """Write patch.png and patch.json."""
    write_bytes(folder / "patch.png", cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
    write_bytes(folder / "patch.json", (json.dumps(about.to_dict(), indent=1) + "\n").encode())


def read_patch(folder: Path) -> tuple[PatchFile, Picture]:
    """A patch's manifest and pixels.

    Raises:
        InputError: a file is missing or damaged, of another version, or they do not belong together.
    """
    path = folder / "patch.json"
    raw = read_regular(path, _LARGEST, "the patch's manifest")
    with parsing(str(path)):
        data = foreign_json(raw)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a patch of version {SCHEMA}")
    with parsing(str(path)):
        of_type(PatchFile, data)  # for the types alone: values stay as they are written, and with them the hash
        about = _parsed(data)
    try:
        picture = decode_whole(read_regular(folder / "patch.png", LARGEST_PICTURE, "the patch's picture"))
    except JpegError as error:
        raise InputError(f"{folder / 'patch.png'} is no picture: {error}") from error
    if hashlib.sha256(picture.tobytes()).hexdigest() != about.picture_sha256:
        raise InputError(f"{folder / 'patch.png'} is not the picture that patch.json describes")
    if picture.shape[1] != len(about.centers) * picture.shape[0]:
        raise InputError(f"{folder / 'patch.png'} does not hold {len(about.centers)} stickers side by side")
    return about, picture


def sticker(picture: Picture, number: int) -> Picture:
    """One of the stickers that a patch's picture holds side by side."""
    side = picture.shape[0]
    return picture[:, number * side : (number + 1) * side]


def _parsed(data: dict[str, Any]) -> PatchFile:
    x, y = (float(v) for v in data["center_share"])
    more = tuple((float(x), float(y)) for x, y in data.get("more_centers", ()))
    about = None if data.get("about") is None else parse_field_object(data["about"])
    return PatchFile(**{**data, "center_share": (x, y), "more_centers": more, "about": about})
