"""How far from the camera sheets stand: usual distances for their size, and those at which they do not fit."""

import math
from collections.abc import Sequence

import numpy as np

from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.subject import CARD_MM

_CARD_DISTANCES_MM = (350.0, 500.0, 750.0, 1100.0)
_CARD_TAG_MM = 40.0
_ROUND_MM, _SMALL_ROUND_MM = 50, 10  # the second for objects that are smaller than a card
_NEAREST_SIDES = 1.25  # of a real object: nearer its upper and lower edge leave the picture
_HEIGHT_SHARE = 3 / 4  # of a picture's width; films and most camera modes are flatter, so that this misses some


def usual_distances_mm(sheets: Sequence[Sheet]) -> tuple[float, ...]:
    """Those of a card of 120 mm, by the factor by which the largest object and its tags are larger.

    Smaller than a card's they are only for papers *on* a real object, whose tags are smaller too.

    Example:
        >>> usual_distances_mm([Sheet(3, "stop", "stop", "clean", object_mm=600.0, tag_mm=200.0)])
        (1750.0, 2500.0, 3750.0, 5500.0)
    """
    factor = max(map(_factor, sheets), default=1.0)
    step = _ROUND_MM if factor >= 1 else _SMALL_ROUND_MM
    return tuple(float(step * math.floor(factor * d / step + 0.5)) for d in _CARD_DISTANCES_MM)


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
    """By how much it is larger than a card, as far as its tags can be read: they grow less than the object."""
    about = sheet.about
    side_mm = sheet.object_mm if about is None else math.sqrt(about.width_mm * about.height_mm)
    read = min(side_mm / CARD_MM, sheet.tag_mm / _CARD_TAG_MM)
    if sheet.mount != "on":
        return max(read if sheet.window is None else side_mm / CARD_MM, 1.0)
    return max(read, _NEAREST_SIDES * side_mm / _CARD_DISTANCES_MM[0])
