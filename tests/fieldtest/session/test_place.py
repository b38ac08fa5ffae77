"""Where an object is: distance and angle from corners that a hand marked, and the box that a detector should find."""

import math

import numpy as np
import pytest
from fieldtest.session.phone import object_corners

from edgeguard.fieldtest.session.place import (
    as_corners,
    camera_of,
    corners_from_tags,
    focal_from_35_mm,
    focal_from_field_of_view,
    goes_around,
    pose_from_corners,
    pose_from_size,
    true_box,
)
from edgeguard.fieldtest.sheets.field_object import FieldObject
from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet
from edgeguard.fieldtest.sheets.tags import FoundSheet
from edgeguard.fieldtest.virtual.field import Stand, placed_at

CARD = Sheet(1, "stop", "stop", "clean")
SIZE = (1600, 1200)


def test_corners_by_hand_give_the_distance_within_five_percent() -> None:
    focal, errors, turned = focal_from_field_of_view(*SIZE, 62.2), [], []
    for number in range(200):
        rng = np.random.default_rng(number)
        stand = placed_at(rng, float(rng.uniform(350, 1500)), float(rng.uniform(0, 50)), "bright")
        marked = object_corners(CARD, stand, *SIZE) + rng.normal(0, 1.5, (4, 2))
        pose = pose_from_corners(as_corners(marked), CARD, camera_of(*SIZE, focal))
        assert pose is not None
        errors.append(abs(pose.distance_mm / stand.distance_mm - 1))
        turned.append(abs(pose.angle_deg - stand.angle_deg))
    assert np.percentile(errors, 99) < 0.05 and np.median(errors) < 0.01
    assert np.median(turned) < 3


def test_an_object_of_its_own_size() -> None:
    door = Sheet(1, "door", "door", "clean", about=FieldObject("door", "door", 900.0, 2000.0, mount="none"))
    camera = camera_of(*SIZE, 1300.0)
    corners = ((700.0, 300.0), (817.0, 300.0), (817.0, 560.0), (700.0, 560.0))
    pose = pose_from_corners(corners, door, camera)
    sized = pose_from_size(corners, door, camera)
    assert pose is not None and pose.distance_mm == pytest.approx(1300 * 2000 / 260, rel=0.02)
    assert sized.distance_mm == pytest.approx(pose.distance_mm, rel=0.02) and sized.angle_error_deg == 90


def test_the_true_box_is_of_the_outline() -> None:
    corners = ((100.0, 100.0), (200.0, 100.0), (200.0, 200.0), (100.0, 200.0))
    box = true_box(corners, CARD, "tags", 640, 480)
    assert box is not None and 105 < box[0] < 110 and 190 < box[2] < 195  # the sign on the card's paper
    assert true_box(corners, CARD, "size", 640, 480) == (100.0, 100.0, 200.0, 200.0)
    diamond = FieldObject("d", "d", 100.0, 100.0, ((0.0, -0.5), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0)))
    assert true_box(corners, Sheet(1, "d", "d", "clean", about=diamond), "corners", 640, 480) == pytest.approx(
        (100, 100, 200, 200), abs=0.1
    )
    away = tuple((x + 900, y) for x, y in corners)
    assert true_box(away, CARD, "tags", 640, 480) is None


def test_a_smaller_paper_leaves_the_object_as_large_as_it_is() -> None:
    sign = FieldObject("s", "s", 300.0, 300.0, mount="on")
    sheet = Sheet(1, "s", "s", "clean", object_mm=300.0, about=sign, window=Overlay((30.0, 0.0), 90.0))
    printed = np.array([30.0, 0.0]) + 0.9 * (sheet.layout.tag_corners()[:, :, :2] - np.array([30.0, 0.0]))
    seen = FoundSheet(1, {place: (2 * quad + 500).astype(np.float32) for place, quad in enumerate(printed)})
    corners = corners_from_tags(seen, sheet, 0.9)
    assert corners is not None and np.array(corners) == pytest.approx(
        np.array([[200, 200], [800, 200], [800, 800], [200, 800]]), abs=0.1
    )


def test_lenses() -> None:
    wide = focal_from_field_of_view(4000, 3000, 69.4)
    assert wide == focal_from_field_of_view(3000, 4000, 69.4)
    # a phone's main camera: 26 mm by the diagonal are 67 degrees across the longer side of 4:3
    focal = focal_from_35_mm(4000, 3000, 26.0)
    assert math.degrees(2 * math.atan(2000 / focal)) == pytest.approx(67.3, abs=0.2)


def test_corners_go_around_clockwise() -> None:
    good = [(0.0, 0.0), (5.0, 0.0), (5.0, 4.0), (0.0, 4.0)]
    assert goes_around(good) and not goes_around(good[::-1])
    for bad in ((0.0, 0.0), (float("nan"), 0.0), (1e9, 0.0), (float("inf"), 0.0)):
        assert not goes_around([bad, (0.0, 0.0), *good[2:]])


def test_far_and_small() -> None:
    pose = pose_from_corners(as_corners(object_corners(CARD, Stand(5000, 0), *SIZE)), CARD, camera_of(*SIZE, 1326.0))
    assert pose is not None and pose.distance_mm == pytest.approx(5000, rel=0.02)
