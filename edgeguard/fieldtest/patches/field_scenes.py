"""Views of an object in the virtual field, with room for a patch: what patches are optimised over."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.patches.printing import View
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.printer_map import PrinterMap
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture
from edgeguard.fieldtest.sheets.subject import Subject, card_subject
from edgeguard.fieldtest.virtual.bending import ThinPlate
from edgeguard.fieldtest.virtual.field import LIGHTS, SheetPainter, Stand, light_of, placed_at, project
from edgeguard.scene.outlines import box_around

#: Of a field test, in sides of the object: a card of 120 mm at 330 to 1200 mm.
NEAREST_SIDES, FARTHEST_SIDES = 2.75, 10.0
#: Of the sheets whose tags are drawn; papers of large objects take more memory.
_CARD_NUMBERS, _OBJECT_NUMBERS = range(0, 146, 18), range(0, 146, 49)


class FieldScenes:
    """A card or object at any distance, angle and light of a field test.

    Args:
        subject: a card's name, or a card or object.
        overlay: where the patch lies on it; several for several stickers.
        label: the object's output index.
        distances_mm: range drawn from; by default 2.75 to 10 sides of the object.
        angles_deg: range drawn from; angles in all directions.
        size: of the frames; small ones are faster, the object is as large in the model's input.
        within: the first sticker's middle is drawn from this rectangle in each view (left, top, right, bottom,
            millimetres from the object's middle), for a patch that nobody fixes to the millimetre.
        bend: how much a soft object bends at most; see `bending.drawn_bend`.
        photographs: what may stand behind it; rendered clutter without any.
        printer: a measured one; without, a guess.
    """

    def __init__(
        self,
        subject: str | Subject,
        overlay: Overlay | Sequence[Overlay],
        label: int,
        *,
        distances_mm: tuple[float, float] | None = None,
        angles_deg: tuple[float, float] = (0.0, 40.0),
        size: tuple[int, int] = (640, 480),
        within: tuple[float, float, float, float] | None = None,
        bend: float = 0.0,
        photographs: Sequence[Picture] = (),
        printer: PrinterMap | None = None,
    ) -> None:
        self.subject = card_subject(subject) if isinstance(subject, str) else subject
        self.overlays = (overlay,) if isinstance(overlay, Overlay) else tuple(overlay)
        numbers = _CARD_NUMBERS if self.subject.about is None else _OBJECT_NUMBERS
        self.painters = [
            SheetPainter(
                *made_sheet(self.subject, "clean", number=number, overlay=self.overlays[0]),
                cutout=self.subject.cutout, photographs=photographs, printer=printer,
            )
            for number in numbers
        ]  # fmt: skip
        side = self.subject.mean_side_mm
        self.distances_mm = distances_mm or (NEAREST_SIDES * side, FARTHEST_SIDES * side)
        self.label, self.angles_deg, self.size = label, angles_deg, size
        self.within, self.bend, self.printer = within, bend, printer
        outline = made_sheet(self.subject, "clean", number=0, overlay=self.overlays[0])[0].outline_mm()
        self.hull = np.concatenate([outline, np.zeros((len(outline), 1))], axis=1)

    def draw(self, rng: np.random.Generator) -> View:
        """See `Scenes`."""
        stand = self._stand(rng)
        painter = self.painters[int(rng.integers(len(self.painters)))]
        scene = painter.scene(stand, *self.size)
        quality = None if rng.random() < 0.2 else int(rng.integers(75, 96))
        blur = stand.blur if self.printer is None else self.printer.blur_px * float(rng.uniform(0.8, 1.25))
        bend, places = painter.bend(stand), self._places(rng)
        corners = [project(_square(place), stand, *self.size) for place in places]
        hull = self.hull
        if bend is not None:
            hull = np.concatenate([bend.seen_at(hull[:, :2]), hull[:, 2:]], axis=1)
        return View(
            scene * 0.92 + 6, corners[0], light_of(stand, *self.size), max(blur * self.size[0] / 640, 0.2),
            stand.noise, quality, self.label, object_box=box_around(project(hull, stand, *self.size), *self.size),
            stickers=tuple(corners[1:]), bents=() if bend is None else tuple(_bent(bend, place) for place in places),
            printer=self.printer,
        )  # fmt: skip

    def with_overlays(self, overlays: Sequence[Overlay]) -> "FieldScenes":
        """The same with the patch elsewhere; not for a paper on the object, which goes with the patch."""
        other = copy(self)
        other.overlays, other.within = tuple(overlays), None
        return other

    def _places(self, rng: np.random.Generator) -> list[Overlay]:
        if self.within is None:
            return list(self.overlays)
        left, top, right, bottom = self.within
        moved = replace(self.overlays[0], center_mm=(float(rng.uniform(left, right)), float(rng.uniform(top, bottom))))
        return [moved, *self.overlays[1:]]

    def _stand(self, rng: np.random.Generator) -> Stand:
        near, far = self.distances_mm
        distance = float(np.sqrt(rng.uniform(near**2, far**2)))
        light = LIGHTS[int(rng.integers(3))]
        stand = placed_at(rng, distance, float(rng.uniform(*self.angles_deg)), light)
        tilt = float(rng.uniform(0, 360)) if rng.random() < 0.5 else stand.tilt_deg + 180.0 * int(rng.integers(2))
        stand = replace(stand, tilt_deg=tilt, exposure=float(rng.uniform(0.85, 1.1)))
        return stand if self.bend == 0 else replace(stand, bend=float(rng.uniform(0, self.bend)))


def _square(place: Overlay) -> NDArray[np.float64]:
    half, (x, y) = place.side_mm / 2, place.center_mm
    return np.array(
        [[x - half, y - half, 0], [x + half, y - half, 0], [x + half, y + half, 0], [x - half, y + half, 0]]
    )


def _bent(bend: ThinPlate, place: Overlay) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The object's bend as seen from the patch, whose square is -1..1."""
    middle, half = np.array(place.center_mm), place.side_mm / 2
    return lambda flat: (bend.moved(middle + flat * half) - middle) / half
