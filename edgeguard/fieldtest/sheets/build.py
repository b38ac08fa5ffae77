"""Sheets from an object, an arm and a patch; and sheets read back from where they were written."""

import hashlib
from pathlib import Path
from typing import cast, get_args

import cv2
import numpy as np

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.sheets.layout import SHEET_NUMBERS, Layout
from edgeguard.fieldtest.sheets.patch_file import PatchFile, read_patch, sticker
from edgeguard.fieldtest.sheets.sheet import (
    ARMS,
    Arm,
    Overlay,
    Picture,
    Sheet,
    control_picture,
    picture_hash,
    read_sheet,
    with_overlay,
)
from edgeguard.fieldtest.sheets.subject import Subject, card_subject, picture_beside, write_subject
from edgeguard.system.files import check_writable, write_bytes
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.names import with_a_name

#: A tenth of the area, a little below the middle: on the stop card plain grey in the middle itself looks like no entry.
DEFAULT_AREA, DEFAULT_CENTER = 0.10, (0.0, 0.07)
_WINDOW_PX = 32
_SHORT_BAR_TAG_MM = 34.0  # two smaller tags are narrower than a bar of 100 mm
_BESIDE_GAP_MM = 20.0


def made_sheet(
    card: str | Subject,
    arm: str,
    *,
    patch: Path | None = None,
    object_mm: float = 120.0,
    tag_mm: float | None = None,
    number: int | None = None,
    overlay: Overlay | None = None,
    seed: int = 0,
) -> tuple[Sheet, Picture]:
    """A sheet and the picture of its object (for a paper on or beside a real object: of what lies on that).

    Args:
        card: a card's name, `blank`, or a real object.
        arm: `clean`, `plain`, `noise` or `patch`.
        patch: a folder of `edgeguard patch make`; controls take its size, shape and place from it.
        object_mm: side of a card.
        tag_mm: side of the tags; by default one that suits the object.
        number: 0..145; by default one that follows from the content.
        overlay: where the control or patch lies; by default where the patch was made for, else a tenth of the area
            below the middle.

    Raises:
        InputError: no such card or arm, a patch arm without a patch, or a patch for another object.
    """
    if arm not in get_args(Arm):
        raise InputError(f"there is no arm {arm!r}; known: {', '.join(get_args(Arm))}")
    subject = card if isinstance(card, Subject) else card_subject(card, object_mm)
    made = None if patch is None else read_patch(patch)
    if made is not None:
        _refuse_another(made[0], subject)
        if arm == "patch" and made[0].target == subject.label and made[0].mode != "create":
            raise InputError(
                f"the patch aims at {subject.label!r}, which is the object's own label: every frame would be a success"
            )
    if arm == "patch" and made is None:
        raise InputError("the patch arm wants --patch FOLDER, which edgeguard patch make writes")
    places = (overlay,) if overlay is not None else default_overlays(None if made is None else made[0], subject)
    tags = tag_mm if tag_mm is not None else default_tag_mm(subject)
    layers = [] if arm == "clean" else _layers(cast(Arm, arm), made, len(places), seed)
    picture = _picture(subject, list(zip(places, layers, strict=False)))
    window = _window(subject, places[0], tags)
    digest = picture_hash(picture)
    about = made[0] if made is not None and arm == "patch" else None
    sheet = Sheet(
        number=_number(digest, subject, window, cast(Arm, arm)) if number is None else number,
        object=subject.name,
        label=subject.label,
        arm=cast(Arm, arm),
        object_mm=subject.width_mm,
        tag_mm=tags,
        overlay=None if arm == "clean" else places[0],
        patch_sha256=None if about is None else about.sha256,
        target=None if about is None else about.target,
        model_sha256=None if about is None else about.model_sha256,
        through_guard=None if about is None else about.through_guard,
        picture_sha256=digest,
        about=subject.about,
        stickers=() if arm == "clean" else places[1:],
        window=window,
        mode=None if about is None else about.mode,
        short_bar=subject.mount == "on" and tags < _SHORT_BAR_TAG_MM,
    )
    return sheet, picture


def default_overlays(made: PatchFile | None, subject: Subject) -> tuple[Overlay, ...]:
    """Where a patch was made for, each sticker of it; without one a tenth of the area below the middle."""
    if made is None:
        return (subject.overlay(DEFAULT_AREA**0.5, DEFAULT_CENTER),)
    return tuple(subject.overlay(made.side_share, center, made.shape) for center in made.centers)


def default_tag_mm(subject: Subject) -> float:
    """Tags that are seen as far as the object is, and papers that cover little of it."""
    if subject.about is None:
        return 40.0
    if subject.mount == "sheet":
        return float(round(min(max(subject.width_mm / 4, 30), 150)))
    least = 12 if subject.mount == "on" else 40
    return float(round(min(max(subject.mean_side_mm / 6, least), 70)))


def _refuse_another(made: PatchFile, subject: Subject) -> None:
    if made.about is None or subject.about is None:
        if made.about is not None:
            raise InputError(f"the patch was made for {made.about.name!r}, not for the card {subject.name!r}")
        return
    if made.about.picture_sha256 != subject.about.picture_sha256:
        raise InputError(f"the patch was made for another object: {made.about.name!r}")
    own, wanted = made.about, subject.about
    if (own.width_mm, own.height_mm, own.mount) != (wanted.width_mm, wanted.height_mm, wanted.mount):
        raise InputError(
            f"the patch was made for {own.name!r} of {own.width_mm:g}x{own.height_mm:g} mm, --mount {own.mount}, not "
            f"for {wanted.width_mm:g}x{wanted.height_mm:g} mm, --mount {wanted.mount}"
        )


def _layers(arm: Arm, made: tuple[PatchFile, Picture] | None, count: int, seed: int) -> list[Picture]:
    """What lies at each place."""
    if arm == "patch" and made is not None:
        return [sticker(made[1], number) for number in range(count)]
    return [control_picture(arm, seed + number) for number in range(count)]


def _picture(subject: Subject, laid: list[tuple[Overlay, Picture]]) -> Picture:
    """The printed object with what lies on it; for a real object what is fixed on it, side by side."""
    if subject.mount == "sheet":
        picture = subject.picture
        for place, layer in laid:
            picture = with_overlay(picture, subject.width_mm, place, layer)
        return picture
    if not laid:
        return np.full((_WINDOW_PX, _WINDOW_PX, 3), 255, np.uint8)
    return np.concatenate([layer for _, layer in laid], axis=1)


def _window(subject: Subject, first: Overlay, tag_mm: float) -> Overlay | None:
    """Between the tags of a paper: the patch itself, or beside the object an empty square."""
    if subject.mount == "on":
        return Overlay(first.center_mm, first.side_mm)
    if subject.mount == "beside":
        layout = Layout(tag_mm / 2, tag_mm, is_paper=True)
        return Overlay((subject.width_mm / 2 + _BESIDE_GAP_MM + layout.width / 2, 0.0), layout.object_mm)
    return None


def _number(digest: str, subject: Subject, window: Overlay | None, arm: Arm) -> int:
    """That of the tags follows from what is printed; a paper's from the object too, which it does not show.

    The arms of one object have different ones, since a session refuses two sheets of one number.
    """
    if window is not None and subject.about is not None:
        facts = f"{digest} {subject.about.picture_sha256} {window}"
        digest = hashlib.sha256(facts.encode()).hexdigest()
    if subject.about is None:
        return int(digest[:6], 16) % SHEET_NUMBERS
    return int(digest[:6], 16) % (SHEET_NUMBERS // len(ARMS)) * len(ARMS) + ARMS.index(arm)


def write_sheet(path: Path, sheet: Sheet, picture: Picture, pdf: bytes, subject: Subject | None = None) -> None:
    """The PDF, and beside it the manifest (.json), its picture (.png) and that of a real object (-object.png).

    Raises:
        InputError: a file of one of these names is there that no sheet wrote.
        DeviceError: they cannot be written.
    """
    _refuse_overwriting(path)
    others = [path.with_suffix(".json"), path.with_suffix(".png")]
    check_writable(path, *others, picture_beside(path) if subject is not None else None)
    if subject is not None:
        write_subject(picture_beside(path), subject)
    write_bytes(path, pdf)
    write_bytes(path.with_suffix(".json"), sheet.to_json())
    write_bytes(path.with_suffix(".png"), cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())


def _refuse_overwriting(path: Path) -> None:
    """A photograph or a patch of the user's may be called as the sheet is."""
    manifest, picture = path.with_suffix(".json"), path.with_suffix(".png")
    theirs = picture if picture.exists() and not manifest.exists() else None
    if manifest.exists():
        try:
            read_sheet(manifest)
        except InputError:
            theirs = manifest
    if theirs is not None:
        raise InputError(f"{theirs} is there and of no sheet; it would be overwritten: give --output another name")


def sheet_and_picture(path: Path) -> tuple[Sheet, Picture]:
    """A sheet from its manifest (or the PDF beside it), and its object's picture.

    Raises:
        InputError: one of them is missing, damaged, or they do not belong together.
    """
    path = with_a_name(path)
    sheet = read_sheet(path.with_suffix(".json"))
    try:
        picture = decode_whole(read_bounded(path.with_suffix(".png"), LARGEST_PICTURE, "the sheet's picture"))
    except JpegError as error:
        raise InputError(f"{path.with_suffix('.png')} is no picture of a sheet: {error}") from error
    if picture_hash(picture) != sheet.picture_sha256:
        raise InputError(f"{path.with_suffix('.png')} is not the picture of {path.with_suffix('.json').name}")
    return sheet, picture
