"""What a field test is about: a bundled card or a real object, with its true size and its picture."""

from dataclasses import dataclass
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.cutout import Cutout, read_cutout, write_cutout
from edgeguard.fieldtest.sheets.field_object import FieldObject, Mount
from edgeguard.fieldtest.sheets.patch_file import PatchFile
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture, Sheet, object_picture

OBJECT_PICTURE = "object.png"
CARD_MM = 120.0


@dataclass(frozen=True, eq=False)
class Subject:
    """A card or a real object.

    Attributes:
        name: of the card or object; sheets of one object share it.
        label: the right answer.
        width_mm, height_mm: true size.
        about, cutout: of a real object; None for a card.

    Example:
        >>> subject = card_subject("stop")
        >>> subject.mount, subject.mean_side_mm
        ('sheet', 120.0)
    """

    name: str
    label: str
    width_mm: float
    height_mm: float
    about: FieldObject | None = None
    cutout: Cutout | None = None

    @property
    def mount(self) -> Mount:
        """How it comes before the camera; cards are printed."""
        return "sheet" if self.about is None else self.about.mount

    @property
    def mean_side_mm(self) -> float:
        """Of the square with its area: what the side of a patch is a share of."""
        return float((self.width_mm * self.height_mm) ** 0.5)

    @property
    def picture(self) -> Picture:
        """As it is printed, with nothing on it.

        Raises:
            InputError: there is no such card, or no picture of the object is known.
        """
        if self.about is None:
            return object_picture(self.name)
        if self.cutout is None:
            raise InputError(f"no picture of {self.name!r} is known: give --object PHOTO")
        return self.cutout.on_white()

    def overlay(self, side_share: float, center_share: tuple[float, float], shape: str = "square") -> Overlay:
        """A place on it in millimetres from its shares; see `PatchFile`."""
        x, y = center_share
        return Overlay((x * self.width_mm, y * self.height_mm), side_share * self.mean_side_mm, shape)

    def is_on_it(self, place: Overlay) -> bool:
        """True where the place's square lies within the object's box."""
        (x, y), half = place.center_mm, place.side_mm / 2
        slack = 1e-6 * self.mean_side_mm
        return abs(x) + half <= self.width_mm / 2 + slack and abs(y) + half <= self.height_mm / 2 + slack


def card_subject(card: str, side_mm: float = CARD_MM) -> Subject:
    """A bundled card (or `blank`) of a printed size."""
    return Subject(card, card, side_mm, side_mm)


def object_subject(about: FieldObject, cutout: Cutout | None) -> Subject:
    """A real object, with its picture where one is known."""
    return Subject(about.name, about.label, about.width_mm, about.height_mm, about, cutout)


def patch_subject(folder: Path, about: PatchFile) -> Subject | None:
    """The real object that a patch was made for, from its folder; None for a card's or photographs' patch.

    Raises:
        InputError: its picture is gone, or of another object.
    """
    if about.about is None:
        return None
    return object_subject(about.about, read_cutout(folder / OBJECT_PICTURE, about.about))


def sheet_subject(sheet: Sheet, path: Path) -> Subject:
    """What a sheet is about; the picture of a real object lies beside its manifest.

    Raises:
        InputError: the picture is there and of another object.
    """
    if sheet.about is None:
        return Subject(sheet.object, sheet.label, sheet.object_mm, sheet.object_mm)
    beside = picture_beside(path)
    return object_subject(sheet.about, read_cutout(beside, sheet.about) if beside.exists() else None)


def picture_beside(path: Path) -> Path:
    """Where the picture of a real object lies, by the path of its sheet."""
    return path.with_name(f"{path.stem}-{OBJECT_PICTURE}")


def write_subject(path: Path, subject: Subject) -> None:
    """Keep the picture of a real object; nothing for a card."""
    if subject.cutout is not None:
        write_cutout(path, subject.cutout)
