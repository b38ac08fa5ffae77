"""Where the object of a sheet is in a frame: its four corners, its pose, and the box that a detector should find."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.tags import FoundSheet, Pose, pose_of_rectangle
from edgeguard.scene.outlines import Box, box_around

Corners = tuple[tuple[float, float], ...]
_FAR_PX = 1e6
_FRAME_35_MM = math.hypot(36.0, 24.0)
#: Of a marked box: its sides say how far away the object is, and nothing of how it is turned.
UNKNOWN_ANGLE_DEG = 90.0


def size_mm(sheet: Sheet) -> tuple[float, float]:
    """Width and height of a sheet's object, millimetres."""
    about = sheet.about
    return (sheet.object_mm, sheet.object_mm) if about is None else (about.width_mm, about.height_mm)


def rectangle_mm(sheet: Sheet) -> NDArray[np.float64]:
    """The four corners of the object's rectangle, clockwise from the upper left, millimetres from its middle."""
    x, y = (side / 2 for side in size_mm(sheet))
    return np.array([[-x, -y], [x, -y], [x, y], [-x, y]], np.float64)


def corners_from_tags(found: FoundSheet, sheet: Sheet, print_scale: float = 1.0) -> Corners | None:
    """The object's corners in the frame, from the tags around it; None where too few of them agree.

    Args:
        found: the tags.
        sheet: that they are of.
        print_scale: of the print. A printed object has it, too; a real one keeps its size beside a smaller paper.
    """
    flat = sheet.layout.tag_corners()[list(found.corners)].reshape(-1, 3)[:, :2]
    if sheet.window is not None:
        middle = np.array(sheet.window.center_mm, np.float32)
        flat = middle + np.float32(print_scale) * (flat - middle)
    matrix = cv2.findHomography(flat, np.concatenate([*found.corners.values()]))[0]
    if matrix is None:
        return None
    corners = as_corners(cv2.perspectiveTransform(rectangle_mm(sheet)[None].astype(np.float32), matrix)[0])
    return corners if goes_around(corners) else None


def goes_around(corners: Sequence[tuple[float, float]]) -> bool:
    """True for finite corners of a convex shape that is gone around clockwise as it is seen (y down).

    Example:
        >>> goes_around([(0, 0), (2, 0), (2, 1), (0, 1)]), goes_around([(0, 0), (2, 0), (0, 1), (2, 1)])
        (True, False)
    """
    count = len(corners)
    for k in range(count):
        (ax, ay), (bx, by), (cx, cy) = (corners[(k + step) % count] for step in range(3))
        if not (bx - ax) * (cy - by) - (by - ay) * (cx - bx) > 0:  # NaN is not more than 0
            return False
    return all(abs(value) <= _FAR_PX for corner in corners for value in corner)


def as_corners(points: NDArray[np.floating[Any]]) -> Corners:
    """Points of a frame, to a hundredth of a pixel."""
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)


def pose_from_corners(corners: Corners, sheet: Sheet, camera: NDArray[np.float64]) -> Pose | None:
    """Distance and angle of the object whose four corners are marked; None where no pose fits them."""
    return pose_of_rectangle(np.array(corners, np.float32), size_mm(sheet), camera)


def pose_from_size(corners: Corners, sheet: Sheet, camera: NDArray[np.float64]) -> Pose:
    """Distance of an upright object in a marked box, by its height; its angle is not known.

    A turned object gets narrower, not lower, so the height tells the distance.
    """
    left, top, right, bottom = box_of(corners)
    middle = np.linalg.inv(camera) @ np.array([(left + right) / 2, (top + bottom) / 2, 1.0])
    depth = float(camera[1, 1]) * size_mm(sheet)[1] / max(bottom - top, 1e-6)
    return Pose(depth * float(np.linalg.norm(middle)), 0.0, UNKNOWN_ANGLE_DEG, 0.0)


def camera_of(width: int, height: int, focal_px: float) -> NDArray[np.float64]:
    """A pinhole with square pixels and the lens in the middle."""
    return np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1.0]])


def focal_from_field_of_view(width: int, height: int, field_of_view_deg: float) -> float:
    """Pixels, from the angle across the longer side: a phone that is held upright has the same lens."""
    return max(width, height) / 2 / math.tan(math.radians(field_of_view_deg) / 2)


def focal_from_35_mm(width: int, height: int, focal_35_mm: float) -> float:
    """Pixels, from the 35 mm equivalent that phones write, which is by the diagonal (CIPA DCG-001)."""
    return focal_35_mm / _FRAME_35_MM * math.hypot(width, height)


def box_of(corners: Sequence[tuple[float, float]]) -> Box:
    """Left, top, right, bottom around corners."""
    across, down = zip(*corners, strict=True)
    return min(across), min(down), max(across), max(down)


def true_box(corners: Corners, sheet: Sheet, pose_from: str | None, width: int, height: int) -> Box | None:
    """The box that a detector should find, cut at the frame's edges; None where the object is not in the frame.

    Args:
        corners: of the object's rectangle; with `pose_from` "size" of the marked box itself.
        sheet: its outline.
        pose_from: see `FrameRecord`.
        width, height: of the frame, pixels.
    """
    points = np.array(corners, np.float32)
    if pose_from != "size":
        matrix = cv2.getPerspectiveTransform(rectangle_mm(sheet).astype(np.float32), points)
        points = cv2.perspectiveTransform(sheet.outline_mm()[None].astype(np.float32), matrix)[0]
    return box_around(np.asarray(points, np.float32), width, height)
