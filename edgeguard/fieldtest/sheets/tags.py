"""AprilTags of the sheets: drawing, finding, and where the sheet stands."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.layout import TAG_MODULES, Layout

_INWARD_PX = 0.2
_CORNER_NOISE_PX = 0.25  # standard deviation of a corner's coordinate, at least
FIELD_OF_VIEW_DEG = 62.2  #: across, of the Raspberry Pi Camera Module 2


@dataclass(frozen=True, eq=False)
class FoundSheet:
    """A sheet in a picture: its number and the image corners of those of its tags that were found.

    Attributes:
        number: tag id // 4.
        corners: tag place (0..3) -> (4, 2) pixels, clockwise from the tag's upper left.
    """

    number: int
    corners: dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Pose:
    """Where the object's middle is and how the sheet is turned.

    Attributes:
        distance_mm: from the lens to the object's middle.
        angle_deg: between the sheet's normal and the line of sight to its middle.
        angle_error_deg: one standard deviation of that angle, at the corner noise that this picture shows and a
            quarter of a pixel at least. From the front the angle is known badly (a change of 10 degrees shortens a
            sheet by 1.5 %), so where the sheet may stand frontal, within two standard deviations, it is that of a
            frontal sheet.
        error_px: root mean square distance between found and projected corners.
    """

    distance_mm: float
    angle_deg: float
    angle_error_deg: float
    error_px: float


def dictionary() -> cv2.aruco.Dictionary:
    """AprilTag 36h11."""
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)


def tag_modules(tag_id: int) -> NDArray[np.bool_]:
    """(8, 8): True where the tag is black."""
    picture = cv2.aruco.generateImageMarker(dictionary(), tag_id, TAG_MODULES)
    return np.asarray(picture < 128)


def find_sheets(rgb: NDArray[np.uint8]) -> list[FoundSheet]:
    """All sheets of which a tag is seen, by their numbers.

    Args:
        rgb: (h, w, 3) uint8.
    """
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.cornerRefinementWinSize = 3
    parameters.minMarkerPerimeterRate = 0.015
    parameters.adaptiveThreshWinSizeMax = 43
    detector = cv2.aruco.ArucoDetector(dictionary(), parameters)
    corners, ids, _ = detector.detectMarkers(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    found: dict[int, dict[int, NDArray[np.float32]]] = {}
    for quad, tag_id in zip(corners, [] if ids is None else ids.ravel(), strict=True):
        found.setdefault(int(tag_id) // 4, {})[int(tag_id) % 4] = _outward(np.asarray(quad, np.float32).reshape(4, 2))
    return [FoundSheet(number, found[number]) for number in sorted(found)]


def _outward(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners where they are: the refinement finds blurred ones too far inside, on rendered tags of any size."""
    to_next = corners - np.roll(corners, -1, axis=0)
    to_last = corners - np.roll(corners, 1, axis=0)
    along = sum(edge / np.linalg.norm(edge, axis=1, keepdims=True) for edge in (to_next, to_last))
    return np.asarray(corners + _INWARD_PX * along, np.float32)


def camera_matrix(width: int, height: int, field_of_view_deg: float = FIELD_OF_VIEW_DEG) -> NDArray[np.float64]:
    """A pinhole with square pixels and the lens in the middle."""
    focal = width / 2 / np.tan(np.deg2rad(field_of_view_deg / 2))
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def pose_of(sheet: FoundSheet, layout: Layout, camera: NDArray[np.float64]) -> Pose | None:
    """Distance and angle of a sheet from the corners of its tags; None where no pose fits them.

    Planar pose has two solutions that mirror each other; the one with the smaller error counts (IPPE, Collins and
    Bartoli 2014), refined by Levenberg-Marquardt.
    """
    return _solve(
        layout.tag_corners()[list(sheet.corners)].reshape(-1, 3), np.concatenate([*sheet.corners.values()]), camera
    )


def pose_of_tag(corners: NDArray[np.float32], tag_mm: float, camera: NDArray[np.float64]) -> Pose | None:
    """The same for a single tag of a known side, by the (4, 2) corners of its black square."""
    half = tag_mm / 2
    square = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]], np.float32)
    return _solve(square, corners, camera)


def pose_of_rectangle(
    corners: NDArray[np.float32], size_mm: tuple[float, float], camera: NDArray[np.float64]
) -> Pose | None:
    """The same for a flat rectangle of a known size, by its (4, 2) corners, clockwise from the upper left."""
    x, y = size_mm[0] / 2, size_mm[1] / 2
    return _solve(np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]], np.float32), corners, camera)


def _solve(points: NDArray[np.float32], seen: NDArray[np.float32], camera: NDArray[np.float64]) -> Pose | None:
    try:
        count, turns, moves, _ = cv2.solvePnPGeneric(points, seen, camera, np.zeros(4), flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:
        return None
    best: tuple[float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for turn, move in list(zip(turns, moves, strict=True))[:count]:
        refined = cv2.solvePnPRefineLM(points, seen, camera, np.zeros(4), turn, move)
        turn, move = (np.asarray(vector, np.float64) for vector in refined)
        error = float(np.sqrt(((_projected(points, turn, move, camera) - seen) ** 2).sum(1).mean()))
        if best is None or error < best[0]:
            best = error, turn, move
    if best is None or float(best[2][2, 0]) <= 0:
        return None
    error, turn, move = best
    angle, noise = _angle(turn, move), max(_CORNER_NOISE_PX, error / np.sqrt(2))
    spread = _angle_error(points, turn, move, camera, noise)
    frontal = _angle_error(points, _facing(turn, move), move, camera, noise)
    return Pose(float(np.linalg.norm(move)), angle, frontal if angle <= 2 * frontal else spread, error)


def frontal_error_deg(layout: Layout, distance_mm: float, camera: NDArray[np.float64]) -> float:
    """`Pose.angle_error_deg` of a sheet that faces the camera, all of its tags seen, at a quarter of a pixel.

    Args:
        layout: of the sheet.
        distance_mm: to the object's middle.
        camera: see `camera_matrix`.
    """
    points, straight = layout.tag_corners().reshape(-1, 3), np.zeros((3, 1))
    return _angle_error(points, straight, np.array([[0.0], [0.0], [distance_mm]]), camera, _CORNER_NOISE_PX, tries=32)


def _projected(
    points: NDArray[np.float32], turn: NDArray[np.float64], move: NDArray[np.float64], camera: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(cv2.projectPoints(points, turn, move, camera, np.zeros(4))[0], np.float64).reshape(-1, 2)


def _angle(turn: NDArray[np.float64], move: NDArray[np.float64]) -> float:
    normal = cv2.Rodrigues(turn)[0][:, 2]
    sight = move[:, 0] / np.linalg.norm(move)
    return float(np.rad2deg(np.arccos(np.clip(abs(normal @ sight), 0, 1))))


def _facing(turn: NDArray[np.float64], move: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation that turns a sheet the shortest way to face the camera."""
    matrix = cv2.Rodrigues(turn)[0]
    normal, sight = matrix[:, 2], move[:, 0] / np.linalg.norm(move)
    sight = sight if normal @ sight >= 0 else -sight
    axis = np.cross(normal, sight)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return turn
    shortest = cv2.Rodrigues(axis / sine * np.arctan2(sine, normal @ sight))[0]
    return np.asarray(cv2.Rodrigues(shortest @ matrix)[0], np.float64)


def _angle_error(
    points: NDArray[np.float32],
    turn: NDArray[np.float64],
    move: NDArray[np.float64],
    camera: NDArray[np.float64],
    noise_px: float,
    tries: int = 8,
) -> float:
    """Spread of the angle over noisy re-solutions: a standard deviation of so many pixels on each corner coordinate."""
    seen = _projected(points, turn, move, camera)
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(tries):
        noisy = seen + rng.normal(0, noise_px, seen.shape)
        good, t, m = cv2.solvePnP(
            points, noisy, camera, np.zeros(4), turn.copy(), move.copy(), True, cv2.SOLVEPNP_ITERATIVE
        )
        if good:
            angles.append(_angle(np.asarray(t, np.float64), np.asarray(m, np.float64)))
    spread = np.array(angles) - _angle(turn, move)
    return float(np.sqrt((spread**2).mean())) if len(angles) else 90.0
