"""How far from the camera sheets stand: usual distances for their size, and those at which they do not fit."""

import math
from collections.abc import Sequence

import numpy as np

from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.session.reach import USUAL_WIDTH_PX, reach_mm
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.subject import CARD_MM
from edgeguard.fieldtest.sheets.tags import FIELD_OF_VIEW_DEG

_CARD_DISTANCES_MM = (350.0, 500.0, 750.0, 1100.0)
_CARD_TAG_MM = 40.0
_ROUND_MM = 50
_HEIGHT_SHARE = 3 / 4  # of a picture's width; films and most camera modes are flatter, so that this misses some
#: Of a real object with a paper on it: from three quarters of the picture's height to where a card's tags still tell
#: how the sheet is turned, in mean sides of what the tags span; never farther than a card stands, in its sides.
_NEAREST_SIDES, _FARTHEST_SPANS, _FARTHEST_SIDES = 1.5, 5.75, 1100 / 120
_FINE_MM, _STEPS, _CANDIDATES = 10, 4, 12
_WELL_WITHIN = 0.9  # of what the tags reach: there a blurred picture is read as well
_USUAL_ANGLES_DEG = (0.0, 15.0, 30.0, 45.0)


def usual_distances_mm(sheets: Sequence[Sheet]) -> tuple[float, ...]:
    """Those of a card of 120 mm; larger by the factor by which the largest object and its tags are.

    Where every object has a paper *on* it, the paper's tags say how far: they are small beside the object.

    Example:
        >>> usual_distances_mm([Sheet(3, "stop", "stop", "clean", object_mm=600.0, tag_mm=200.0)])
        (1750.0, 2500.0, 3750.0, 5500.0)
    """
    if sheets and all(sheet.mount == "on" for sheet in sheets):
        near = max(_NEAREST_SIDES * _side_mm(sheet) for sheet in sheets)
        far = max(min(_FARTHEST_SPANS * _span_mm(sheet), _FARTHEST_SIDES * _side_mm(sheet)) for sheet in sheets)
        each = np.geomspace(near, max(far, 1.5 * near), _STEPS)
        return tuple(float(_FINE_MM * round(distance / _FINE_MM)) for distance in each)
    factor = max(map(_factor, sheets), default=1.0)
    if factor <= 1:  # the tags do not shrink with a small object
        return _CARD_DISTANCES_MM
    usual = tuple(float(_ROUND_MM * math.floor(factor * d / _ROUND_MM + 0.5)) for d in _CARD_DISTANCES_MM)
    reach = max(reach_mm(sheet, _USUAL_ANGLES_DEG, USUAL_WIDTH_PX, FIELD_OF_VIEW_DEG) for sheet in sheets)
    if usual[-1] <= reach or reach <= usual[0]:
        return usual
    # papers beside an object have tags that are small beside it
    return tuple(float(_FINE_MM * math.floor(d / _FINE_MM)) for d in np.geomspace(usual[0], reach, _STEPS))


def candidate_distances_mm(
    sheets: Sequence[Sheet], usual_mm: Sequence[float], angles_deg: Sequence[float], field_of_view_deg: float
) -> tuple[float, ...]:
    """Distances from the nearest usual one to where the smallest tags can just be read, for a model to choose from.

    Args:
        sheets: of the plan.
        usual_mm: see `usual_distances_mm`.
        angles_deg, field_of_view_deg: of the plan.
    """
    reach = _WELL_WITHIN * min(reach_mm(sheet, angles_deg, USUAL_WIDTH_PX, field_of_view_deg) for sheet in sheets)
    each = np.geomspace(min(usual_mm), max(reach, max(usual_mm)), _CANDIDATES)
    return tuple(dict.fromkeys(float(_FINE_MM * math.floor(distance / _FINE_MM)) for distance in each))


def too_near_notes(plan: Plan) -> list[str]:
    """A line for each object of which all four tags cannot be in one picture at some distance of the plan."""
    across = 2 * math.tan(math.radians(plan.field_of_view_deg) / 2)  # of a picture, for each millimetre of distance
    nearest: dict[str, tuple[float, str]] = {}
    for sheet in plan.sheets:
        width, height = np.ptp(plan.print_scale * sheet.layout.tag_corners()[..., :2].reshape(-1, 2), axis=0)
        needed = max(float(width), float(height) / _HEIGHT_SHARE) / across
        nearest[sheet.object] = max(nearest.get(sheet.object, (0.0, "")), (needed, f"{width:.0f} x {height:.0f} mm"))
    lines = []
    for name, (needed, size) in nearest.items():
        if near := [f"{d:g}" for d in plan.distances_mm if d < needed]:
            lines.append(
                f"at {', '.join(near)} mm the four tags of {name} ({size}) do not fit into one picture, and nothing "
                f"can be recorded there: plan --distances from {10 * math.ceil(needed / 10)} on"
            )
    return lines


def _factor(sheet: Sheet) -> float:
    """By how much it is larger than a card; tags of a whole sheet grow less than the object, and have to be read."""
    side_mm = _side_mm(sheet)
    return side_mm / CARD_MM if sheet.window is not None else min(side_mm / CARD_MM, sheet.tag_mm / _CARD_TAG_MM)


def _side_mm(sheet: Sheet) -> float:
    return sheet.object_mm if sheet.about is None else math.sqrt(sheet.about.width_mm * sheet.about.height_mm)


def _span_mm(sheet: Sheet) -> float:
    """Mean side of the rectangle that the four tags span."""
    width, height = np.ptp(sheet.layout.tag_corners()[..., :2].reshape(-1, 2), axis=0)
    return math.sqrt(float(width) * float(height))
