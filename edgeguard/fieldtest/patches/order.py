"""What `patch make` shall do, and the views that follow from it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeguard.errors import InputError
from edgeguard.fieldtest.patches.field_scenes import FARTHEST_SIDES, NEAREST_SIDES, FieldScenes
from edgeguard.fieldtest.sheets.build import DEFAULT_AREA, DEFAULT_CENTER, made_sheet
from edgeguard.fieldtest.sheets.paper_cover import covering_lines
from edgeguard.fieldtest.sheets.printer_map import PrinterMap
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture
from edgeguard.fieldtest.sheets.subject import Subject, card_subject

Rectangle = tuple[float, float, float, float]
_FARTHEST_BESIDE = 3.0  # sides of the object
_CHECKED_ANGLE_DEG = 30.0


@dataclass(frozen=True, kw_only=True)
class PatchOrder:
    """What `patch make` shall do.

    Attributes:
        model: a .tflite with its contract.
        target: a label, or None for an untargeted patch.
        card: the card it is made for; None with `images` and `subject`.
        images: labelled photographs instead of a card: pasted digitally at the model's input.
        subject: a real object instead of a card.
        area: of the patch (of all stickers together), share of the object's (or photograph's) area.
        center: of the patch on the object, shares of its width and height from its middle.
        more_centers: of further stickers, each as large as the first.
        within: instead of one middle, a rectangle that it is drawn from (left, top, right, bottom, shares).
        search: the middle is looked for (`search.searched`).
        through: a profile, `contract`, or a patch guard that stands between camera and model; None for none.
        angles_deg: largest angle that is drawn.
        distances_mm: nearest and farthest that are drawn; None for 2.75 to 10 sides of the object (of a detector's
            8.33).
        size: of the camera's frames.
        bend: how much a soft object bends at most.
        photographs: what may stand behind the object.
        printer: a measured one.
    """

    model: Path
    target: str | None
    card: str | None = "stop"
    images: Path | None = None
    subject: Subject | None = None
    area: float = DEFAULT_AREA
    center: tuple[float, float] = DEFAULT_CENTER
    more_centers: tuple[tuple[float, float], ...] = ()
    within: Rectangle | None = None
    search: bool = False
    through: str | None = None
    angle_deg: float = 40.0
    size: tuple[int, int] = (640, 480)
    bend: float = 0.0
    photographs: tuple[Picture, ...] = ()
    printer: PrinterMap | None = None
    distances_mm: tuple[float, float] | None = None

    @property
    def object(self) -> Subject | None:
        """The card or real object; None for photographs."""
        if self.subject is not None:
            return self.subject
        return None if self.images is not None or self.card is None else card_subject(self.card)

    @property
    def checked_angle_deg(self) -> float:
        """Largest angle at which the deployed detector is asked about the arms."""
        return min(_CHECKED_ANGLE_DEG, self.angle_deg)

    @property
    def side_share(self) -> float:
        """Of each sticker, share of the object's (mean) side."""
        return float((self.area / (1 + len(self.more_centers))) ** 0.5)

    def facts(self) -> dict[str, Any]:
        """For the identity of a checkpoint; what came later stands there only where it is used."""
        subject, photographs = self.subject, hashlib.sha256()
        for picture in self.photographs:
            photographs.update(picture.tobytes())
        later = {
            "subject": None if subject is None or subject.about is None else subject.about.to_dict(),
            "more_centers": [list(center) for center in self.more_centers],
            "within": None if self.within is None else list(self.within),
            "bend": self.bend,
            "backgrounds": photographs.hexdigest() if self.photographs else None,
            "printer": None if self.printer is None else self.printer.sha256,
            "distances_mm": None if self.distances_mm is None else list(self.distances_mm),
        }
        facts = {
            "card": self.card, "images": None if self.images is None else self.images.name, "area": self.area,
            "center": list(self.center), "through": self.through, "angle_deg": self.angle_deg, "size": list(self.size),
            **{key: value for key, value in later.items() if value},
        }  # fmt: skip
        return dict(json.loads(json.dumps(facts)))

    def overlays(self, shape: str) -> tuple[Overlay, ...]:
        """Where the stickers lie.

        Raises:
            InputError: one would stick out of an object that it is printed or fixed on, or is to be cut out of a
                paper that has to stay whole.
        """
        subject = self.object
        assert subject is not None
        if subject.mount == "on" and shape != "square":
            raise InputError(
                f"with --mount on the patch stays in its paper, whose white would surround a patch of --shape {shape}: "
                "leave --shape out, or put the paper beside the object (--mount beside) and cut the patch out"
            )
        centers = (self.center, *self.more_centers)
        places = tuple(subject.overlay(self.side_share, center, shape) for center in centers)
        for place in (*places, *self._extremes(subject, shape)):
            if subject.mount == "beside":
                if not all(abs(v) <= _FARTHEST_BESIDE * subject.mean_side_mm for v in place.center_mm):
                    raise InputError("the patch would be more than three sides away from the object (--at)")
            elif not subject.is_on_it(place):
                what = "card" if subject.about is None else "object"
                raise InputError(f"the patch would stick out of the {what}: make it smaller or move it (--at)")
        return places

    def doubts(self, shape: str) -> list[str]:
        """What is wrong with the object's paper before any patch is made; see `paper_cover`."""
        subject = self.subject
        if subject is None or subject.mount != "on":
            return []
        return covering_lines([made_sheet(subject, "clean", overlay=self.overlays(shape)[0])[0]])

    def _extremes(self, subject: Subject, shape: str) -> list[Overlay]:
        if self.within is None:
            return []
        left, top, right, bottom = self.within
        return [subject.overlay(self.side_share, corner, shape) for corner in ((left, top), (right, bottom))]

    def scenes(self, label: int, shape: str, farthest_sides: float = FARTHEST_SIDES) -> FieldScenes:
        """The views of the card or object; where no distances are given, from 2.75 of its sides to the farthest."""
        subject = self.object
        assert subject is not None
        within = None
        if self.within is not None:
            width, height = subject.width_mm, subject.height_mm
            left, top, right, bottom = self.within
            within = (left * width, top * height, right * width, bottom * height)
        side = subject.mean_side_mm
        near, far = self.distances_mm or (NEAREST_SIDES * side, farthest_sides * side)
        return FieldScenes(
            subject, self.overlays(shape), label, distances_mm=(near, far), angles_deg=(0.0, self.angle_deg),
            size=self.size, within=within, bend=self.bend, photographs=self.photographs, printer=self.printer,
        )  # fmt: skip

    def covered(self, shape: str, resolution: int) -> Picture:
        """What the stickers cover, side by side, for `Recipe.naturalness`.

        Raises:
            InputError: a sticker lies beside the object.
        """
        subject = self.object
        if subject is None:
            raise InputError("--naturalness is for a card or object, not for photographs")
        picture, tiles = subject.picture, []
        scale = picture.shape[1] / subject.width_mm
        for place in self.overlays(shape):
            if not subject.is_on_it(place):
                raise InputError("--naturalness wants a patch on the object: there is nothing below it (--at)")
            side = max(round(place.side_mm * scale), 1)
            left = round((subject.width_mm / 2 + place.center_mm[0] - place.side_mm / 2) * scale)
            top = round((subject.height_mm / 2 + place.center_mm[1] - place.side_mm / 2) * scale)
            below = picture[max(top, 0) : top + side, max(left, 0) : left + side]
            tiles.append(np.asarray(cv2.resize(below, (resolution, resolution), interpolation=cv2.INTER_AREA)))
        return np.concatenate(tiles, axis=1)
