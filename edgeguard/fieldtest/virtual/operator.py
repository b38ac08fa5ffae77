"""An operator of the virtual field who follows a plan: places each sheet in each cell and takes it away again."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from edgeguard.camera.source import Applied, Captured
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.cutout import Cutout
from edgeguard.fieldtest.sheets.sheet import Picture
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, light_named, placed_at

_EMPTY_FRAMES = 2
_PATIENCE = 25  # frames for which a sheet is held beyond those wanted: small tags may need some tries


class VirtualOperator:
    """A source that plays a whole session; the placements of one cell and repeat are the same for every arm.

    Args:
        session: what is missing of it is played.
        pictures: of the object of each sheet, by number.
        set_light: told before the light changes, as an operator would tell the page.
        seed: of all placements.
        size: of the frames.
        quality: of the camera's JPEGs.
        cutouts: pictures of real objects that are not printed, by the numbers of their sheets.
        photographs: what may stand behind; rendered clutter without any.
    """

    name = "synthetic:field?session"
    live = False
    applied = Applied()

    def __init__(
        self,
        session: Session,
        pictures: dict[int, Picture],
        set_light: Callable[[str], None],
        *,
        seed: int = 0,
        size: tuple[int, int] = (640, 480),
        quality: int = 92,
        cutouts: Mapping[int, Cutout | None] | None = None,
        photographs: Sequence[Picture] = (),
    ) -> None:
        self.session, self.seed, self.size, self.quality = session, seed, size, quality
        known = cutouts or {}
        self.painters = {
            s.number: SheetPainter(s, pictures[s.number], cutout=known.get(s.number), photographs=photographs)
            for s in session.plan.sheets
        }
        self.set_light = set_light

    def frames(self) -> Iterator[Captured]:
        """Frames until the plan is complete."""
        index = 0
        plan = self.session.plan
        for cell in plan.cells():
            self.set_light(cell.light)
            for sheet in plan.sheets:
                for repeat in range(self.session.count(sheet.number, cell), plan.passes):
                    stand = self.stand(cell, repeat)
                    for shot in range(plan.frames + _PATIENCE):
                        yield self._shot(index, self.painters[sheet.number].frame(stand, *self.size, shot=shot))
                        index += 1
                        if self.session.count(sheet.number, cell) > repeat:
                            break
                    for _ in range(_EMPTY_FRAMES):
                        yield self._shot(index, np.full((self.size[1], self.size[0], 3), 90, np.uint8))
                        index += 1

    def stand(self, cell: Cell, repeat: int) -> Stand:
        """Where a placement stands: a function of cell and repeat alone."""
        key = [self.seed, round(cell.distance_mm), round(cell.angle_deg), self.session.plan.lights.index(cell.light)]
        rng = np.random.default_rng([*key, repeat])
        light = light_named(cell.light) or "bright"
        return placed_at(rng, cell.distance_mm, cell.angle_deg, light)

    def close(self) -> None:
        """Nothing stays open."""

    def _shot(self, index: int, rgb: Picture) -> Captured:
        data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1].tobytes()
        return Captured(index, self.name, data, None, time.time(), "received")
