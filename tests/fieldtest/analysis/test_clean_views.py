"""What is said of a model that does not know the clean object everywhere."""

from typing import Any

import pytest

from edgeguard.fieldtest.analysis import clean_views as views
from edgeguard.fieldtest.analysis.clean_views import CleanViews, everywhere_known, no_room_notes, unknown_notes
from edgeguard.fieldtest.analysis.eligible_cells import eligible_notes
from edgeguard.fieldtest.analysis.known_cells import flags_for, kept_grid
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.subject import card_subject


def _seen(*right: int, name: str = "badge", angle: float = 0.0) -> list[CleanViews]:
    return [CleanViews(name, 100.0 * (place + 1), angle, count, 8) for place, count in enumerate(right)]


def test_where_it_is_known_nothing_is_said() -> None:
    assert unknown_notes(_seen(8, 4)) == []


def test_where_it_is_not_known_there_is_a_way_on() -> None:
    (line,) = unknown_notes(_seen(1, 3, 6, 8))
    assert "right about the clean badge in 4 of 16 rendered views at 100, 200 mm" in line
    assert "plan --distances 300,400" in line and "--angles" not in line


def test_an_angle_at_which_it_is_not_known_is_left_out() -> None:
    (line,) = unknown_notes([*_seen(8, 7), *_seen(0, 3, angle=30.0)])
    assert "in 3 of 16 rendered views at 30 degrees at 100 mm; 30 degrees at 200 mm" in line
    assert "plan --angles 0, or others" in line and "--distances" not in line


def test_a_distance_and_an_angle_are_left_out() -> None:
    (line,) = unknown_notes([*_seen(8, 7, 0), *_seen(0, 3, 0, angle=30.0)])
    assert "at 300 mm; 30 degrees at 100 mm; 30 degrees at 200 mm" in line
    assert "plan --distances 100,200 --angles 0" in line


def test_a_plan_that_can_show_nothing() -> None:
    known, strange = _seen(8, 8), _seen(0, 3, name="sign")
    (line,) = unknown_notes([*known, *strange])
    assert line.startswith("THIS PLAN CAN SHOW NOTHING OF SIGN: the model is right about the clean sign in 3 of 16")


def test_a_control_that_misleads_leaves_no_room() -> None:
    (line,) = no_room_notes(_seen(8, 8), _seen(1, 2))
    assert "misleads the model about badge in 13 of 16 rendered views" in line and "--size" in line
    assert no_room_notes(_seen(8, 8), _seen(2, 2)) == []
    assert no_room_notes(_seen(8, 0), _seen(8, 0)) == [], "where the clean one is not known it says nothing"
    assert no_room_notes(_seen(0, 0), _seen(0, 0)) == []


def test_a_cell_in_doubt_is_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None
    monkeypatch.setattr(views, "path_behind", lambda *_: None)
    monkeypatch.setattr(views, "SheetPainter", lambda *_, **__: None)
    monkeypatch.setattr(views, "_stand", lambda distance, angle, view: (angle, view))
    monkeypatch.setattr(views, "_is_right", lambda *given: given[-1][0] == 0 or given[-1][1] >= 5)
    printed = [(Sheet(1, "stop", "stop", "clean"), nothing, card_subject("stop"))]
    counted = list[tuple[int, int]]()

    def seen(angles: list[float], again: int) -> list[tuple[int, int]]:
        told = views.clean_views(
            nothing, printed, [500.0], angles, least=4, again=again, progress=lambda *done: counted.append(done)
        )
        return [(one.right, one.n) for one in told]

    assert seen([0.0, 30.0], 0) == [(4, 4), (0, 4)]
    assert seen([0.0, 30.0], 8) == [(4, 4), (7, 12)] and counted[-1] == (16, 16)
    assert seen([30.0], 8) == [(3, 8)], "where it is known at no angle nothing is in doubt"


def test_distances_are_those_at_which_all_objects_are_known_well() -> None:
    assert everywhere_known([*_seen(8, 6, 8, 5), *_seen(8, 8, 6, 8, name="sign")]) == (100, 200, 300)
    assert everywhere_known(_seen(1, 4, 8, 4)) == (200, 300, 400), "one alone is few: those known at all"
    assert everywhere_known(_seen(1, 3)) == ()
    assert everywhere_known([*_seen(8, 8), *_seen(0, 6, angle=30.0)]) == (100, 200), "over its angles"


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (("##", "##"), ((0, 1), (0, 1))),
        (("#.", "#."), ((0, 1), (0,))),
        (("##", ".."), ((0,), (0, 1))),
        (("#.", ".#"), ((0,), (0,))),
        (("###", "##.", "#.."), ((0, 1), (0, 1))),
        (("..", ".."), ((), ())),
    ],
)
def test_a_grid_in_which_every_cell_is_known(rows: tuple[str, ...], kept: tuple[tuple[int, ...], ...]) -> None:
    known = {(float(x), float(y)): sign == "#" for x, row in enumerate(rows) for y, sign in enumerate(row)}
    assert kept_grid(known) == kept
    assert (flags_for(known) == "") == (all(known.values()) or not any(known.values()))


def _frames(*cells: tuple[float, float, int, int], light: str = "bright") -> list[tuple[Cell, bool]]:
    return [(Cell(d, a, light), k < good) for d, a, good, n in cells for k in range(n)]


def test_frames_that_judge_nothing_are_named_by_cell() -> None:
    few, cells = eligible_notes(
        _frames((900, 0, 14, 16), (900, 30, 0, 16), (1400, 0, 10, 16), (1400, 30, 4, 16)), "detect"
    )
    assert few.startswith("36 of 64 frames are not eligible: without a guard the clean object was not found there.")
    assert "900 mm 0 degrees 14 of 16, 30 degrees 0 of 16; 1400 mm 0 degrees 10 of 16, 30 degrees 4 of 16. " in cells
    assert "Plan --angles 0, or take a model" in cells and "shorter" not in cells


def test_few_frames_that_judge_nothing_are_counted() -> None:
    (line,) = eligible_notes(_frames((900, 0, 14, 16)), "classify")
    assert "was not classified correctly there" in line
    assert list(eligible_notes(_frames((900, 0, 16, 16)), "classify")) == []


def test_where_nothing_is_eligible_other_places_are_to_be_planned() -> None:
    dark = _frames((900, 0, 0, 4), light="dim")
    _, cells = eligible_notes([*_frames((900, 0, 1, 4)), *dark], "detect")
    assert "900 mm 0 degrees 1 of 8; bright 1 of 4, dim 0 of 4. Plan other distances or angles, or" in cells
