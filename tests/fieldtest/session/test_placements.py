"""Which photographs show one placement."""

from pathlib import Path
from unittest import mock

from edgeguard.fieldtest.session import placements as placements_of
from edgeguard.fieldtest.session.look import Picture
from edgeguard.fieldtest.session.photographs import FoundFile
from edgeguard.fieldtest.session.placements import Placed, placements
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.sheets.tags import Pose


def _placed(distance: float, angle: float, at: float | None, folder: str = "photos", shot: int = 0) -> Placed:
    file = FoundFile(Path(f"{shot}.jpg"), f"{folder}/{shot}.jpg")
    picture = Picture(f"{at} {folder} {shot}", file, None, 640, 480, at, 500.0, "plan")
    cell = Cell(500.0 if distance < 750 else 1000.0, 0.0 if angle < 15 else 30.0, "bright")
    return Placed(picture, 10, Pose(distance, angle, 1.0, 0.1), ((0.0, 0.0),) * 4, "tags", cell)


def test_a_placement_between_two_cells_is_one_pass() -> None:
    turned = [_placed(500, 14 + 0.8 * k, 10.0 * k) for k in range(4)]  # at the border of two angles
    (one,) = placements(turned, 10.0)
    assert len(one.pictures) == 4 and {frame.cell for frame in one.pictures} == {one.cell}
    assert one.cell == Cell(500.0, 0.0, "bright")
    near, far = _placed(700, 0, 0.0), _placed(900, 0, 5.0)
    assert len(placements([near, far], 10.0)) == 2  # it was moved
    assert len(placements([_placed(740, 0, 0.0), _placed(760, 0, 99.0)], 10.0)) == 2  # later
    timeless = [_placed(500, 14 + 0.8 * k, None, "photos/patch", k) for k in range(4)]
    assert [len(one.pictures) for one in placements(timeless, 10.0)] == [4]
    recorded = [_placed(700 + 200 * k, 0, None, "s/patch/pass-0001", k) for k in range(2)]
    assert [len(one.pictures) for one in placements(recorded, 10.0)] == [2]


def test_many_placements_are_compared_with_what_is_near_in_time_only() -> None:
    """Each run of pictures was compared with all before it: 10^5 photographs took 5 * 10^9 comparisons."""
    far_apart = [_placed(700 + 200 * (k % 2), 0, 100.0 * k, shot=k) for k in range(500)]
    with mock.patch.object(placements_of, "_stands_as", wraps=placements_of._stands_as) as compared:
        assert len(placements(far_apart, 10.0)) == 500
    assert compared.call_count == 0


def test_a_placement_of_many_pictures_asks_few_of_them_how_it_stands() -> None:
    """Pictures at the border of two cells, each one a run that joins the others."""
    row = [_placed(749 + 2 * (k % 2), 0, 8.0 * k, shot=k) for k in range(3000)]
    with mock.patch.object(placements_of, "_LATEST", 10):
        (one,) = placements(row, 10.0)
    assert [placed.picture.taken_at for placed in one.pictures] == [8.0 * k for k in range(3000)]
