"""Sheets from a card, an arm and a patch; and sheets read back from where they were written."""

from pathlib import Path
from typing import cast, get_args

import cv2

from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.sheets.layout import SHEET_NUMBERS
from edgeguard.fieldtest.sheets.patch_file import PatchFile, read_patch
from edgeguard.fieldtest.sheets.sheet import (
    Arm,
    Overlay,
    Picture,
    Sheet,
    control_picture,
    object_picture,
    picture_hash,
    read_sheet,
    with_overlay,
)
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

#: A tenth of the area, a little below the middle: on the stop card plain grey in the middle itself looks like no entry.
DEFAULT_AREA, DEFAULT_CENTER = 0.10, (0.0, 0.07)


def made_sheet(
    card: str,
    arm: str,
    *,
    patch: Path | None = None,
    object_mm: float = 120.0,
    tag_mm: float = 40.0,
    number: int | None = None,
    overlay: Overlay | None = None,
    seed: int = 0,
) -> tuple[Sheet, Picture]:
    """A sheet and the picture of its object.

    Args:
        card: a card's name, or `blank`.
        arm: `clean`, `plain`, `noise` or `patch`.
        patch: a folder of `edgeguard patch make`; controls take its size, shape and place from it.
        number: 0..145; by default one that follows from the content.
        overlay: where the control or patch lies; by default where the patch was made for, else a tenth of the area
            below the middle.

    Raises:
        InputError: no such card or arm, or a patch arm without a patch.
    """
    if arm not in get_args(Arm):
        raise InputError(f"there is no arm {arm!r}; known: {', '.join(get_args(Arm))}")
    made = None if patch is None else read_patch(patch)
    if arm == "patch" and made is None:
        raise InputError("the patch arm wants --patch FOLDER, which edgeguard patch make writes")
    picture = object_picture(card)
    place = overlay or _default_overlay(made, object_mm)
    if arm != "clean":
        content = made[1] if arm == "patch" and made is not None else control_picture(cast(Arm, arm), seed)
        picture = with_overlay(picture, object_mm, place, content)
    digest = picture_hash(picture)
    about = made[0] if made is not None and arm == "patch" else None
    sheet = Sheet(
        number=int(digest[:6], 16) % SHEET_NUMBERS if number is None else number,
        object=card,
        label=card,
        arm=cast(Arm, arm),
        object_mm=object_mm,
        tag_mm=tag_mm,
        overlay=None if arm == "clean" else place,
        patch_sha256=None if about is None else about.sha256,
        target=None if about is None else about.target,
        model_sha256=None if about is None else about.model_sha256,
        through_guard=None if about is None else about.through_guard,
        picture_sha256=digest,
    )
    return sheet, picture


def _default_overlay(made: tuple[PatchFile, Picture] | None, object_mm: float) -> Overlay:
    if made is not None:
        share, (x, y), shape = made[0].side_share, made[0].center_share, made[0].shape
    else:
        share, (x, y), shape = DEFAULT_AREA**0.5, DEFAULT_CENTER, "square"
    return Overlay((x * object_mm, y * object_mm), share * object_mm, shape)


def write_sheet(path: Path, sheet: Sheet, picture: Picture, pdf: bytes) -> None:
    """The PDF, and beside it the manifest (.json) and the object's picture (.png)."""
    write_bytes(path, pdf)
    write_bytes(path.with_suffix(".json"), sheet.to_json())
    write_bytes(path.with_suffix(".png"), cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())


def sheet_and_picture(path: Path) -> tuple[Sheet, Picture]:
    """A sheet from its manifest (or the PDF beside it), and its object's picture.

    Raises:
        InputError: one of them is missing, damaged, or they do not belong together.
    """
    sheet = read_sheet(path.with_suffix(".json"))
    try:
        picture = decode_rgb(read_bounded(path.with_suffix(".png"), LARGEST_PICTURE, "the sheet's picture"))
    except JpegError as error:
        raise InputError(f"{path.with_suffix('.png')} is no picture of a sheet: {error}") from error
    if picture_hash(picture) != sheet.picture_sha256:
        raise InputError(f"{path.with_suffix('.png')} is not the picture of {path.with_suffix('.json').name}")
    return sheet, picture
