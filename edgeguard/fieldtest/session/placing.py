"""Where the object of a picture is and which sheet lies on it: by its tags, or by what was marked and its folder."""

from dataclasses import replace

import numpy as np

from edgeguard.fieldtest.session.arms import folder_names, light_named, sheets_named
from edgeguard.fieldtest.session.guide import Situation
from edgeguard.fieldtest.session.look import Picture
from edgeguard.fieldtest.session.marks import Mark
from edgeguard.fieldtest.session.place import (
    Corners,
    as_corners,
    box_of,
    camera_of,
    pose_from_corners,
    pose_from_size,
    size_mm,
)
from edgeguard.fieldtest.session.placements import Placed
from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.tags import Pose

_SMALLEST_PX = 8.0
_LARGEST_ERROR_PX, _LARGEST_ERROR = 3.0, 0.05  # that marked corners are off a flat object; or share of its side
_REASONS = {
    Situation.TWO_SHEETS: "two sheets are in the picture: show one",
    Situation.BENT: "its tags fit no flat sheet of that size: the paper is bent, or the print is distorted",
    Situation.BURNT: "over-exposed: the paper is white in all three colors",
}
NOT_MARKED = "fewer than two tags are seen and nothing is marked: run again with --port, and mark it on the page"


def place(picture: Picture, plan: Plan, mark: Mark | None, light: str) -> Placed | str:
    """Sheet and pose of a picture, or in words why they are not known."""
    named = sheets_named(plan, picture.file.folders)
    said = light_named(plan, picture.file.folders) or light
    if mark is not None and mark.kind == "none":
        return "marked as not showing the object"
    if picture.situation is Situation.FOREIGN and (mark is None or picture.strangers):
        number = (*picture.strangers, *picture.seen)[0]
        return f"its tags are of sheet {number}, which this session does not have"
    if mark is None:
        if wants_mark(picture):
            return NOT_MARKED
        if picture.situation in _REASONS or picture.pose is None or picture.corners is None or picture.sheet is None:
            return _REASONS.get(picture.situation, picture.situation.value)
        if named and picture.sheet not in [sheet.number for sheet in named]:
            return _contradicts(plan, picture.sheet, named)
        pose = picture.pose
        return _placed(Placed(picture, picture.sheet, pose, picture.corners, "tags", _nearest(plan, pose, said)))
    sheet = _marked_sheet(picture, plan, mark, named)
    if isinstance(sheet, str):
        return sheet
    camera = camera_of(picture.width, picture.height, picture.focal_px)
    corners = _corners(mark, picture)
    scale = plan.print_scale if sheet.mount == "sheet" else 1.0
    if mark.kind == "box":
        pose = pose_from_size(corners, sheet, camera)
        pose = replace(pose, distance_mm=scale * pose.distance_mm)
        return _placed(Placed(picture, sheet.number, pose, corners, "size", _nearest(plan, pose, said)))
    flat = pose_from_corners(corners, sheet, camera)
    if flat is None or flat.error_px > max(_LARGEST_ERROR_PX, _LARGEST_ERROR * _side_px(corners)):
        wide, high = size_mm(sheet)
        return f"the marked corners fit no flat object of {wide:g} x {high:g} mm: mark them again"
    flat = replace(flat, distance_mm=scale * flat.distance_mm)
    return _placed(Placed(picture, sheet.number, flat, corners, "corners", _nearest(plan, flat, said)))


def shown(picture: Picture) -> str:
    """Name of a picture, for lists."""
    return picture.file.name if picture.index is None else f"{picture.file.name}#{picture.index}"


def _nearest(plan: Plan, pose: Pose, light: str) -> Cell:
    return plan.nearest_cell(pose.distance_mm, pose.angle_deg, light)


def _placed(one: Placed) -> Placed | str:
    """It, unless the object is too small, or not in the picture."""
    left, top, right, bottom = box_of(one.corners)
    if min(right - left, bottom - top) < _SMALLEST_PX:
        return f"the object is {right - left:.0f} x {bottom - top:.0f} pixels, less than {_SMALLEST_PX:.0f}: go nearer"
    if right <= 0 or bottom <= 0 or left >= one.picture.width or top >= one.picture.height:
        return "the object lies outside of the picture"
    return one


def _marked_sheet(picture: Picture, plan: Plan, mark: Mark, named: tuple[Sheet, ...]) -> Sheet | str:
    """By the mark, else by the folder, else by the one tag that is seen; which none of them may contradict."""
    told = None if picture.sheet is None else plan.sheet(picture.sheet)
    if mark.sheet is not None:
        sheet = plan.sheet(mark.sheet)
        if sheet is None:
            return f"it is marked as sheet {mark.sheet}, which this session does not have"
        if told is not None and told.number != sheet.number:
            return (
                f"a tag says sheet {told.number} ({told.arm}), it is marked as sheet {sheet.number} ({sheet.arm}): one "
                "of them is wrong"
            )
        return sheet
    if told is not None:
        return told if not named or told in named else _contradicts(plan, told.number, named)
    if len(named) == 1:
        return named[0]
    if not named:
        known = ", ".join(f"{folder_names(sheet, plan)}/" for sheet in plan.sheets)
        return f"no tag and no folder says which arm it is: put it in one of the folders {known}"
    numbers = " or ".join(str(sheet.number) for sheet in named)
    return f"its folder may mean sheet {numbers}: name the folder by the sheet's number"


def _contradicts(plan: Plan, number: int, named: tuple[Sheet, ...]) -> str:
    seen = plan.sheet(number)
    arm = "" if seen is None else f" ({seen.arm})"
    return f"its tags say sheet {number}{arm}, its folder says {named[0].arm}: one of them is wrong"


def _side_px(corners: Corners) -> float:
    """The smaller side of the box around corners."""
    left, top, right, bottom = box_of(corners)
    return min(right - left, bottom - top)


def _corners(mark: Mark, picture: Picture) -> Corners:
    points = np.array(mark.points) * (picture.width, picture.height) - 0.5
    if mark.kind == "box":
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return as_corners(points)


def wants_mark(one: Picture) -> bool:
    """Where the tags say nothing: none are seen, one alone, or a stray one of another sheet."""
    return one.situation in (Situation.EMPTY, Situation.TAGS_HIDDEN, Situation.FOREIGN) and not one.strangers
