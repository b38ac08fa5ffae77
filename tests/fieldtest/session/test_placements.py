"""Which photographs show one placement."""

from pathlib import Path

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
