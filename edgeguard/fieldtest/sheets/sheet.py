"""What is printed: an object with a patch, a control or nothing on it, between tags that say which sheet it is."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.chart import chart_picture
from edgeguard.fieldtest.sheets.field_object import FULL_OUTLINE, FieldObject, Mount, parse_field_object
from edgeguard.fieldtest.sheets.layout import CHART_RGB, SHEET_NUMBERS, Layout, Rect
from edgeguard.fieldtest.sheets.tags import tag_modules
from edgeguard.scene.cards import CARDS, draw_card
from edgeguard.scene.outlines import sign_outline
from edgeguard.system.foreign import checked_numbers, foreign_json, parsing, read_bounded

SCHEMA = 1
#: `clean`: the object alone. `plain` and `noise`: controls as large as the patch. `patch`: the patch.
Arm = Literal["clean", "plain", "noise", "patch"]
ARMS: tuple[Arm, ...] = ("clean", "plain", "noise", "patch")
Picture = NDArray[np.uint8]
_PLAIN_LEVEL = 127
_NOISE_CELLS = 16
_LARGEST = 1 << 20  # bytes of a manifest
_LATER = ("about", "stickers", "window", "mode", "short_bar")
_AIMS = {"vanish": "not found", "mislabel": "another class", "create": "found where it is not"}


@dataclass(frozen=True)
class Overlay:
    """Where a patch or control lies on the object.

    Attributes:
        center_mm: (x, y) from the object's middle, y down.
        side_mm: of the square that holds it.
        shape: of what is printed within that square.
    """

    center_mm: tuple[float, float]
    side_mm: float
    shape: str = "square"


@dataclass(frozen=True)
class Sheet:
    """A sheet's manifest: what is on it, where, and the number that its tags carry.

    Attributes:
        number: 0..145; its tags are 4 * number + 0..3.
        object: a card's name, or `blank`.
        label: the right answer for the object, as the model's labels name it.
        arm: what lies on it.
        overlay: where; None for the clean arm.
        patch_sha256: of the patch's manifest, for the patch arm.
        target: the label that the patch aims at; None where it aims at none.
        model_sha256: of the model that the patch was made for.
        through_guard: the profile's name and hash, or the patch guard, that the patch was made through; None for none.
        picture_sha256: of the object with what lies on it, as rendered.
        about: the object itself, where it is none of the bundled cards; its `name` is `object`.
        stickers: where further ones lie, of several; the first is `overlay`.
        window: for a paper on or beside a real object: the square between its tags, from the object's middle.
        mode: what the patch wants of a detector; None for a classifier's and where nothing is known.
        short_bar: of a paper on a small object; see `Layout`.
    """

    number: int
    object: str
    label: str
    arm: Arm
    object_mm: float = 120.0
    tag_mm: float = 40.0
    overlay: Overlay | None = None
    patch_sha256: str | None = None
    target: str | None = None
    model_sha256: str | None = None
    through_guard: str | None = None
    picture_sha256: str = ""
    schema: int = SCHEMA
    about: FieldObject | None = None
    stickers: tuple[Overlay, ...] = ()
    window: Overlay | None = None
    mode: str | None = None
    short_bar: bool = False

    @property
    def aim(self) -> str:
        """What the patch wants, for whoever reads a report: a label, or what happens to the object.

        Example:
            >>> Sheet(3, "stop", "stop", "patch", mode="vanish").aim
            'not found'
        """
        return self.target or _AIMS.get(self.mode or "", "anything")

    @property
    def layout(self) -> Layout:
        """Where everything is."""
        if self.window is not None:
            return Layout(
                self.window.side_mm, self.tag_mm, origin_mm=self.window.center_mm, is_paper=True,
                has_short_bar=self.short_bar,
            )  # fmt: skip
        return Layout(self.object_mm, self.tag_mm, None if self.about is None else self.about.height_mm)

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        """Where patches or controls lie; none on a clean sheet."""
        return () if self.overlay is None else (self.overlay, *self.stickers)

    @property
    def mount(self) -> Mount:
        """How the object comes before the camera; cards are printed."""
        return "sheet" if self.about is None else self.about.mount

    def outline_mm(self) -> NDArray[np.float64]:
        """(n, 2): the object's outline in millimetres from its middle, y down; of a card its sign's."""
        if self.about is not None:
            return self.about.outline_mm()
        outline = sign_outline(self.object).astype(np.float64) if self.object in CARDS else np.array(FULL_OUTLINE)
        return outline * self.object_mm

    @property
    def sha256(self) -> str:
        """Of the manifest; its first eight digits are printed on the sheet."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what came later (`about`, `stickers`, `window`) stands there only where it says something."""
        return {key: value for key, value in asdict(self).items() if key not in _LATER or value}

    def to_json(self) -> bytes:
        """As it stands beside the PDF."""
        return (json.dumps(self.to_dict(), indent=1) + "\n").encode()


def read_sheet(path: Path) -> Sheet:
    """A sheet's manifest.

    Raises:
        InputError: not there, not a manifest, or of another version.
    """
    if not path.exists():
        raise InputError(
            f"cannot read the sheet's manifest {path}: edgeguard patch sheet writes it beside the sheet's .pdf"
        )
    raw = read_bounded(path, _LARGEST, "the sheet's manifest")
    try:
        data = foreign_json(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a sheet's manifest: {error}") from error
    return parse_sheet(data, str(path))


def parse_sheet(data: object, origin: str) -> Sheet:
    """A manifest from plain data; see `read_sheet`."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or data.get("arm") not in ARMS:
        raise InputError(f"{origin} is not a sheet's manifest of version {SCHEMA}: edgeguard patch sheet writes one")
    from msgspec import convert

    with parsing(f"{origin}: the sheet's manifest"):
        checked_numbers(data)
        convert(data, Sheet)  # for the types alone: values stay as they are written
        places = {key: None if data.get(key) is None else _overlay(data[key]) for key in ("overlay", "window")}
        stickers = tuple(_overlay(one) for one in data.get("stickers", ()))
        about = None if data.get("about") is None else parse_field_object(data["about"])
        sheet = Sheet(**{**data, **places, "stickers": stickers, "about": about})
        if not 0 <= sheet.number < SHEET_NUMBERS or not 10 <= sheet.object_mm <= 5000 or not 5 <= sheet.tag_mm <= 1000:
            raise ValueError("a number or length is out of range")
    return sheet


def _overlay(data: dict[str, Any]) -> Overlay:
    x, y = data["center_mm"]
    return Overlay((float(x), float(y)), float(data["side_mm"]), str(data["shape"]))


def object_picture(name: str) -> Picture:
    """The object before anything lies on it, square.

    Raises:
        InputError: there is no such card.
    """
    if name == "blank":
        return np.full((512, 512, 3), 255, np.uint8)
    if name == "chart":
        return chart_picture()
    if name not in CARDS:
        raise InputError(f"there is no card {name!r}; known: {', '.join(CARDS)}, chart, or blank")
    return draw_card(name)


def control_picture(arm: Arm, seed: int = 0) -> Picture:
    """What lies on the object in a control arm: plain grey, or blocks of random colours."""
    if arm == "plain":
        return np.full((_NOISE_CELLS, _NOISE_CELLS, 3), _PLAIN_LEVEL, np.uint8)
    return np.random.default_rng(seed).integers(0, 256, (_NOISE_CELLS, _NOISE_CELLS, 3), np.uint8)


def mask_of(shape: str, side: int) -> NDArray[np.float32]:
    """Where a shape covers its square, 0..1, (side, side): `square`, `round`, `ring`, or `stickers` (two bars)."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    radius = np.hypot(x, y)
    shapes = {
        "square": np.ones((side, side), bool),
        "round": radius <= 0.5,
        "ring": (radius <= 0.5) & (radius >= 0.25),
        "stickers": (np.abs(x) <= 0.5) & (np.abs(y) >= 0.22) & (np.abs(y) <= 0.5),
    }
    if shape not in shapes:
        raise InputError(f"there is no shape {shape!r}; known: {', '.join(shapes)}")
    return shapes[shape].astype(np.float32)


def on_white(picture: Picture, shape: str) -> Picture:
    """A square picture with white paper where a shape does not cover it."""
    cover = mask_of(shape, picture.shape[0])[:, :, None]
    return np.asarray(np.rint(picture * cover + 255 * (1 - cover)), np.uint8)


def with_overlay(picture: Picture, object_mm: float, overlay: Overlay, content: Picture) -> Picture:
    """The object's picture with the content laid on it; `object_mm` is the picture's width."""
    scale = picture.shape[1] / object_mm
    side = max(round(overlay.side_mm * scale), 1)
    left = round((object_mm / 2 + overlay.center_mm[0] - overlay.side_mm / 2) * scale)
    top = round((picture.shape[0] / scale / 2 + overlay.center_mm[1] - overlay.side_mm / 2) * scale)
    if left < 0 or top < 0 or left + side > picture.shape[1] or top + side > picture.shape[0]:
        raise InputError("the patch would stick out of the object: make it smaller or move it")
    laid = cv2.resize(
        content, (side, side), interpolation=cv2.INTER_CUBIC if side > content.shape[0] else cv2.INTER_AREA
    )
    out = picture.copy()
    cover = mask_of(overlay.shape, side)[:, :, None]
    below = out[top : top + side, left : left + side]
    below[:] = np.rint(below * (1 - cover) + laid * cover).astype(np.uint8)
    return out


def sheet_raster(sheet: Sheet, picture: Picture, pixels_per_mm: float = 4.0) -> Picture:
    """The whole sheet as pixels: for the virtual field, and to look at.

    Args:
        picture: what stands between the tags: the object, or what is seen in the window of a paper.
    """
    layout = sheet.layout
    page = np.full((round(layout.height * pixels_per_mm), round(layout.width * pixels_per_mm), 3), 255, np.uint8)

    def box(rect: Rect) -> tuple[slice, slice]:
        top, left = round(rect.top * pixels_per_mm), round(rect.left * pixels_per_mm)
        bottom, right = round((rect.top + rect.height) * pixels_per_mm), round((rect.left + rect.width) * pixels_per_mm)
        return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))

    def put(rect: Rect, content: Picture, interpolation: int) -> None:
        rows, columns = box(rect)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        page[rows, columns] = cv2.resize(content, size, interpolation=interpolation)

    put(layout.object, picture, cv2.INTER_AREA)
    for place, rect in enumerate(layout.tags):
        white = (~tag_modules(4 * sheet.number + place)).astype(np.uint8) * 255
        put(rect, np.repeat(white[:, :, None], 3, 2), cv2.INTER_NEAREST)
    for color, rect in zip(CHART_RGB, layout.chart, strict=False):  # a paper for a real object has no chart
        page[box(rect)] = color
    page[box(layout.scale_bar)] = 0
    return page


def picture_hash(picture: Picture) -> str:
    """SHA-256 of a picture's pixels."""
    return hashlib.sha256(picture.tobytes()).hexdigest()
