"""The object of `patch make` and `patch sheet`: a card, a photograph of a real thing, or what a patch was made for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeguard.cli.ignored import given, refuse_ignored
from edgeguard.cli.parse import numbers, pair
from edgeguard.errors import InputError

if TYPE_CHECKING:
    from edgeguard.fieldtest.sheets.sheet import Overlay
    from edgeguard.fieldtest.sheets.subject import Subject

MOUNTS_HELP = "sheet (print the object), on or beside: the real thing, with a paper on it or beside it."


def chosen_subject(
    context: typer.Context,
    card: str,
    photo: Path | None,
    *,
    label: str | None,
    mm: str | None,
    mask: Path | None,
    mount: str,
    card_mm: float = 120.0,
    patch: Path | None = None,
) -> "Subject":
    """The card, the object of the photograph, or the one that the patch in the folder was made for.

    Raises:
        InputError: flags that do not belong together, or an object that cannot be used.
    """
    from edgeguard.fieldtest.sheets.cutout import read_object
    from edgeguard.fieldtest.sheets.field_object import MOUNTS
    from edgeguard.fieldtest.sheets.patch_file import read_patch
    from edgeguard.fieldtest.sheets.subject import card_subject, object_subject, patch_subject

    if photo is None:
        refuse_ignored(context, ["mm", "mask", "mount"], "is for --object PHOTO")
        if patch is not None and not given(context, "card"):
            made = patch_subject(patch, read_patch(patch)[0])
            if made is not None:
                return made
        _check_card(card)
        return card_subject(card, card_mm)
    refuse_ignored(context, ["card", "card_mm"], "is for a bundled card, not for --object")
    if label is None or mm is None:
        raise InputError("--object wants --label NAME (the model's name of it) and --mm WIDTHxHEIGHT (its true size)")
    if mount not in MOUNTS[:3]:
        raise InputError(f"--mount is sheet, on or beside, got {mount}")
    about, cutout = read_object(
        photo, label=label, size_mm=millimetres("--mm", mm), mask=mask, mount=mount
    )  # fmt: skip
    return object_subject(about, cutout)


def _check_card(card: str) -> None:
    from edgeguard.scene.cards import CARDS

    if card in (*CARDS, "blank", "chart"):
        return
    if Path(card).suffix:
        raise InputError(f"--card takes a bundled card's name; your picture is --object {card} --label NAME --mm WxH")
    raise InputError(f"there is no card {card!r}; cards: {', '.join(CARDS)}; of your own object: --object PICTURE")


@dataclass(frozen=True)
class Placement:
    """What `--at` says.

    Attributes:
        centers: of the stickers, shares of width and height from the object's middle.
        within: instead of a middle, the rectangle that it is drawn from: left, top, right, bottom.
        search: it is looked for.
    """

    centers: tuple[tuple[float, float], ...]
    within: tuple[float, float, float, float] | None = None
    search: bool = False


def placement(texts: list[str], default: tuple[float, float]) -> Placement:
    """`x,y` (several for several stickers), `area:x1,y1,x2,y2`, or `search`.

    Raises:
        InputError: it is none of them, or several that do not go together.

    Example:
        >>> placement(["area:-0.2,0,0.2,0.1"], (0.0, 0.0)).centers
        ((0.0, 0.05),)
    """
    if not texts:
        return Placement((default,))
    special = [text for text in texts if text == "search" or text.startswith("area:")]
    if special and len(texts) > 1:
        raise InputError("--at search and --at area:... place one patch: give it once")
    if special == ["search"]:
        return Placement((default,), search=True)
    if special:
        try:
            left, top, right, bottom = numbers("--at", special[0].removeprefix("area:"))
        except ValueError as error:
            raise InputError(f"--at wants area:LEFT,TOP,RIGHT,BOTTOM, got {special[0]}") from error
        if left > right or top > bottom:
            raise InputError(f"--at wants area:LEFT,TOP,RIGHT,BOTTOM, got {special[0]}")
        return Placement((((left + right) / 2, (top + bottom) / 2),), (left, top, right, bottom))
    return Placement(tuple(pair(text, "--at wants x,y, for example 0,0.1; area:x1,y1,x2,y2; or search")
                           for text in texts))  # fmt: skip


def millimetres(flag: str, text: str) -> tuple[float, float]:
    """`WIDTHxHEIGHT` in millimetres.

    Raises:
        InputError: it is none; the line names the flag.

    Example:
        >>> millimetres("--mm", "600x450.5")
        (600.0, 450.5)
    """
    try:
        width, height = (float(part) for part in text.lower().removesuffix("mm").split("x"))
    except ValueError as error:
        raise InputError(f"{flag} wants WIDTHxHEIGHT in millimeters, for example 600x600, got {text}") from error
    if not (0 < width < 1e6 and 0 < height < 1e6):
        raise InputError(f"{flag} wants WIDTHxHEIGHT in millimeters, for example 600x600, got {text}")
    return width, height


def side_share(text: str, subject: "Subject") -> float:
    """`10%` of the object's area, or `38mm` of side, as a share of the object's (mean) side.

    Raises:
        InputError: neither, or larger than the object.
    """
    side = subject.mean_side_mm
    try:
        if text.endswith("%") and 0 < float(text[:-1]) <= 100:
            return float((float(text[:-1]) / 100) ** 0.5)
        if text.endswith("mm") and 0 < float(text[:-2]) <= side:
            return float(text[:-2]) / side
    except ValueError:
        pass
    raise InputError(f"a size is 10% (of the object's area) or 38mm (of its side), got {text}")


def control_place(size: str, subject: "Subject") -> "Overlay":
    """Where a control of a given size lies that has no patch to take its place from."""
    from edgeguard.fieldtest.sheets.build import DEFAULT_CENTER

    return subject.overlay(side_share(size, subject), DEFAULT_CENTER)
