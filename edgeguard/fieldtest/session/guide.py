"""What a frame means for a recording, and what the operator should do next. No IO: a state machine on observations."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.sheets.tags import FoundSheet, Pose, camera_matrix, find_sheets, pose_of

_BURNT_LEVEL = 250
_BURNT_SHARE = 0.35
_LARGEST_ERROR_PX = 3.0
_GONE_FRAMES = 2


class Situation(Enum):
    """What is before the camera."""

    EMPTY = "show a sheet"
    TWO_SHEETS = "two sheets in view: show one"
    FOREIGN = "these tags are not of this session"
    TAGS_HIDDEN = "show all four tags: only some are seen"
    BENT = "the tags fit no flat sheet: hold it flat, or the print is distorted"
    BURNT = "over-exposed: less light, or a shorter exposure"
    BETWEEN = "between two positions"
    DONE_HERE = "this position is complete"
    TAKE_AWAY = "recorded: take the sheet away, then place it again"
    HOLD = "hold still"

    @property
    def is_unusable(self) -> bool:
        """Something is shown, and none of it can be recorded."""
        return self in (Situation.TWO_SHEETS, Situation.FOREIGN, Situation.TAGS_HIDDEN, Situation.BENT,
                        Situation.BURNT, Situation.BETWEEN)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame shows.

    Attributes:
        situation: before the plan is asked.
        sheet: number of the sheet, where there is one of this session.
        pose, tags: where it stands, and how many tags were seen.
        found: the sheet's tags.
    """

    situation: Situation
    sheet: int | None = None
    pose: Pose | None = None
    tags: int = 0
    found: FoundSheet | None = None


def observe(rgb: NDArray[np.uint8], plan: Plan) -> Observation:
    """Find the sheet in a frame and judge whether it can be recorded."""
    return judge(rgb, find_sheets(rgb), plan, camera_matrix(rgb.shape[1], rgb.shape[0], plan.field_of_view_deg))


def judge(rgb: NDArray[np.uint8], found: Sequence[FoundSheet], plan: Plan, camera: NDArray[np.float64]) -> Observation:
    """Judge the sheets that were found in a frame of a known camera."""
    known = [sheet for sheet in found if plan.sheet(sheet.number) is not None]
    if not found:
        return Observation(Situation.EMPTY)
    if not known:
        return Observation(Situation.FOREIGN)
    others = [sheet for sheet in found if sheet is not known[0] and (sheet in known or len(sheet.corners) > 1)]
    if others:  # a single strange tag is a phantom in the clutter
        return Observation(Situation.TWO_SHEETS)
    return _judged(rgb, known[0], plan, camera)


def _judged(rgb: NDArray[np.uint8], found: FoundSheet, plan: Plan, camera: NDArray[np.float64]) -> Observation:
    sheet = plan.sheet(found.number)
    assert sheet is not None
    tags = len(found.corners)
    if tags < 2:
        return Observation(Situation.TAGS_HIDDEN, found.number, None, tags)
    pose = pose_of(found, sheet.layout, camera)
    if pose is None or pose.error_px > _LARGEST_ERROR_PX:
        return Observation(Situation.BENT, found.number, pose, tags)
    pose = replace(pose, distance_mm=pose.distance_mm * plan.print_scale)
    situation = Situation.BURNT if _burnt(rgb, found) else Situation.HOLD
    return Observation(situation, found.number, pose, tags, found)


def _burnt(rgb: NDArray[np.uint8], found: FoundSheet) -> bool:
    """True where the sheet's paper, between its tags, is at the end of the scale in all three channels."""
    hull = cv2.convexHull(np.concatenate([*found.corners.values()]))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    inside = rgb[mask > 0]
    return len(inside) > 0 and float((inside.min(1) >= _BURNT_LEVEL).mean()) > _BURNT_SHARE


@dataclass(frozen=True)
class Advice:
    """What the operator is told.

    Attributes:
        situation: see there.
        sheet, cell: what is being recorded.
        held: frames of the pass so far.
        finished: the pass is complete with this frame.
    """

    situation: Situation
    sheet: int | None = None
    cell: Cell | None = None
    held: int = 0
    finished: bool = False


class Guide:
    """Collects `plan.frames` frames of one placement; the sheet has to leave between two passes of one cell.

    Frames of one placement are not independent: a pass is one placement. So a sheet that just stays is recorded once.
    """

    def __init__(self, plan: Plan, missing: Counter[tuple[int, Cell]]) -> None:
        self.plan, self.missing = plan, missing
        self._holding: tuple[int, Cell] | None = None
        self._held = 0
        self._must_leave: tuple[int, Cell] | None = None
        self._gone = 0

    def step(self, seen: Observation, light: str) -> Advice:
        """The next frame under the light that the operator has set."""
        if seen.situation is not Situation.HOLD or seen.pose is None or seen.sheet is None:
            self._leave(seen)
            return Advice(seen.situation, seen.sheet)
        cell = self.plan.cell_at(seen.pose.distance_mm, seen.pose.angle_deg, seen.pose.angle_error_deg, light)
        if cell is None:
            self._holding, self._held, self._must_leave = None, 0, None
            return Advice(Situation.BETWEEN, seen.sheet)
        here = (seen.sheet, cell)
        self._gone = 0
        if here == self._must_leave:
            return Advice(Situation.TAKE_AWAY, *here)
        if self.missing[here] <= 0:
            return Advice(Situation.DONE_HERE, *here)
        self._held = self._held + 1 if here == self._holding else 1
        self._holding = here
        if self._held < self.plan.frames:
            return Advice(Situation.HOLD, *here, self._held)
        held, self._held, self._holding, self._must_leave = self._held, 0, None, here
        self.missing[here] -= 1
        return Advice(Situation.HOLD, *here, held, finished=True)

    def _leave(self, seen: Observation) -> None:
        self._holding, self._held = None, 0
        self._gone = self._gone + 1 if seen.situation is Situation.EMPTY else 0
        if self._gone >= _GONE_FRAMES:
            self._must_leave = None

    def next_wanted(self, light: str) -> tuple[int, Cell] | None:
        """The sheet and cell to go to next: the light that is on first, then the sheet that is up."""
        left = [key for key, count in self.missing.items() if count > 0]
        here = [key for key in left if key[1].light == light]
        return next(iter(here or left), None)
