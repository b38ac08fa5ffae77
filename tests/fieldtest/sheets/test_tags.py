"""Finding tags and their pose, on pictures that are rendered here and not by the virtual field."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.layout import Layout
from edgeguard.fieldtest.sheets.tags import camera_matrix, find_sheets, pose_of_tag, tag_modules

WIDTH, HEIGHT, VIEW_DEG, TAG_MM = 1280, 720, 62.0, 100.0


def _photograph(rng: np.random.Generator, distance_mm: float, angle_deg: float) -> tuple[NDArray[np.uint8], float]:
    """A 100 mm tag somewhere near the middle, at four times the resolution, averaged, blurred, with noise."""
    modules = np.pad((~tag_modules(13)).astype(np.uint8) * 255, 2, constant_values=255)
    picture = cv2.GaussianBlur(cv2.resize(modules, None, fx=32, fy=32, interpolation=cv2.INTER_NEAREST), (0, 0), 1)
    half, side = TAG_MM / 8 * 12 / 2, picture.shape[0]
    tilt = rng.uniform(0, 2 * np.pi)
    turn = cv2.Rodrigues(np.array([np.sin(tilt), np.cos(tilt), 0.0]) * np.deg2rad(angle_deg))[0]
    place = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.05, 0.05), 1.0])
    place *= distance_mm / np.linalg.norm(place)
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]]) @ turn.T + place
    seen = corners @ camera_matrix(WIDTH, HEIGHT, VIEW_DEG).T
    pixels = (seen[:, :2] / seen[:, 2:] + 0.5) * 4 - 0.5
    flat = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(flat, pixels.astype(np.float32))
    large = cv2.warpPerspective(picture, matrix, (4 * WIDTH, 4 * HEIGHT), borderValue=200)
    small = cv2.GaussianBlur(cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    noisy = np.clip(small * 0.8 + 20 + rng.normal(0, 2, small.shape), 0, 255).astype(np.uint8)
    true = np.rad2deg(np.arccos(abs(turn[:, 2] @ place) / distance_mm))
    return np.repeat(noisy[:, :, None], 3, 2), float(true)


@pytest.mark.parametrize("distance_mm", [500, 1000, 1500, 2000])
@pytest.mark.parametrize("angle_deg", [0, 15, 30, 45, 60])
def test_pose_of_a_100_mm_tag(distance_mm: int, angle_deg: int) -> None:
    """Asked: 2 % and 3 degrees, 15 to 60 degrees, up to 2 m; a frontal angle within three of its own sigmas."""
    rng = np.random.default_rng([distance_mm, angle_deg])
    for _ in range(2):
        picture, true_deg = _photograph(rng, distance_mm, angle_deg)
        (sheet,) = find_sheets(picture)
        assert sheet.number == 13 // 4 and list(sheet.corners) == [13 % 4]
        pose = pose_of_tag(sheet.corners[1], TAG_MM, camera_matrix(WIDTH, HEIGHT, VIEW_DEG))
        assert pose is not None and pose.error_px < 1
        assert abs(pose.distance_mm / distance_mm - 1) < 0.02
        assert abs(pose.angle_deg - true_deg) < (3 if angle_deg else max(3 * pose.angle_error_deg, 1))


def test_a_frontal_angle_is_said_to_be_uncertain() -> None:
    rng = np.random.default_rng(0)
    errors = []
    for angle_deg in (0, 30):
        (sheet,) = find_sheets(_photograph(rng, 1500, angle_deg)[0])
        pose = pose_of_tag(sheet.corners[1], TAG_MM, camera_matrix(WIDTH, HEIGHT, VIEW_DEG))
        assert pose is not None
        errors.append(pose.angle_error_deg)
    assert errors[0] > 4 * errors[1]


def test_no_tags_no_sheets() -> None:
    assert find_sheets(np.full((240, 320, 3), 128, np.uint8)) == []


def test_the_layout_leaves_white_around_every_tag() -> None:
    layout = Layout()
    assert layout.fits("A4") and not Layout(400.0, 80.0).fits("A4")
    for tag in layout.tags:
        for other in (*layout.tags, layout.object, *layout.chart, layout.scale_bar):
            apart = (
                max(tag.left - other.left - other.width, other.left - tag.left - tag.width),
                max(tag.top - other.top - other.height, other.top - tag.top - tag.height),
            )
            assert other == tag or max(apart) >= tag.width / 8
