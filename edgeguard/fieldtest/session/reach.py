"""How far from the camera a sheet's tags can be read and tell how it is turned, by the width of the pictures."""

import math
from collections.abc import Sequence

from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.tags import camera_matrix, frontal_error_deg

#: Of a camera that nobody has set, and those that cameras commonly give.
USUAL_WIDTH_PX = 640
_WIDTHS_PX = (USUAL_WIDTH_PX, 960, 1280, 1920, 2592, 4056)
_LEAST_TAG_PX = 18.5  # below it tags are missed in the virtual field, blurred as it is
_FRONTAL_SIGMAS = 2.5  # of a quarter of a pixel: where 9 of 10 frontal sheets seem to stand, in rendered views
_FARTHEST_MM, _STEP = 1e6, 1.01


def reads_at(
    sheet: Sheet, distance_mm: float, angles_deg: Sequence[float], width_px: int, field_of_view_deg: float
) -> bool:
    """Whether a sheet's tags are read at a distance, and a frontal sheet is told from one at the plan's next angle.

    Args:
        sheet: as it is printed.
        distance_mm: to the object's middle.
        angles_deg: of the plan.
        width_px: of the pictures.
        field_of_view_deg: of the camera, across.
    """
    camera = camera_matrix(width_px, width_px * 3 // 4, field_of_view_deg)
    if sheet.tag_mm * float(camera[0, 0]) / distance_mm < _LEAST_TAG_PX:
        return False
    turned = [angle for angle in angles_deg if angle > 0]
    if 0 not in angles_deg or not turned:
        return True
    return _FRONTAL_SIGMAS * frontal_error_deg(sheet.layout, distance_mm, camera) <= min(turned) / 2


def reach_mm(sheet: Sheet, angles_deg: Sequence[float], width_px: int, field_of_view_deg: float) -> float:
    """The farthest distance at which `reads_at` holds, within 1 %."""
    near, far = sheet.tag_mm, _FARTHEST_MM  # at its own size a tag fills the picture
    while far > _STEP * near:
        middle = math.sqrt(near * far)
        near, far = (
            (middle, far) if reads_at(sheet, middle, angles_deg, width_px, field_of_view_deg) else (near, middle)
        )
    return near


def too_far_notes(plan: Plan) -> list[str]:
    """A line for each object of which pictures as wide as a camera's usual ones do not say how it stands."""
    lines = dict[str, str]()
    for sheet in plan.sheets:
        far = [distance for distance in plan.distances_mm if not _reads(plan, sheet, distance, USUAL_WIDTH_PX)]
        if not far:
            continue
        reach = plan.print_scale * reach_mm(sheet, plan.angles_deg, USUAL_WIDTH_PX, plan.field_of_view_deg)
        wide = next((width for width in _WIDTHS_PX if all(_reads(plan, sheet, one, width) for one in far)), None)
        lines[sheet.object] = (
            f"at {', '.join(f'{one:g}' for one in far)} mm the tags of {sheet.object} ({sheet.tag_mm:g} mm) are too "
            f"small to tell how it stands in pictures {USUAL_WIDTH_PX} pixels wide, and passes may stay missing: plan "
            f"--distances up to {10 * math.floor(reach / 10)}"
            + ("" if wide is None else f", or take sharp pictures at least {wide} pixels wide (record --size)")
        )
    return list(lines.values())


def _reads(plan: Plan, sheet: Sheet, distance_mm: float, width_px: int) -> bool:
    # a sheet that was printed smaller stands as if it were farther away
    return reads_at(sheet, distance_mm / plan.print_scale, plan.angles_deg, width_px, plan.field_of_view_deg)
