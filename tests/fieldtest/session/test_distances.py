"""Distances that fit the size of what is tested, and what a plan and a recording say of those that do not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from fieldtest.sheets.objects import sign_subject

from edgeguard.fieldtest.session.distances import too_near_notes, usual_distances_mm
from edgeguard.fieldtest.session.guide import Situation
from edgeguard.fieldtest.session.plan import Plan, make_plan, write_plan
from edgeguard.fieldtest.session.reach import too_far_notes
from edgeguard.fieldtest.session.record import Status, missing_lines, record
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import Arm, Sheet
from edgeguard.fieldtest.virtual.operator import VirtualOperator


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    """The clean sheet of a sign of 600 mm."""
    return made_sheet(sign_subject(tmp_path_factory.mktemp("sign"), side_mm=600.0), "clean", number=0)[0]


def test_a_large_object_stands_farther_away(large: Sheet) -> None:
    card = Sheet(3, "stop", "stop", "clean")
    assert usual_distances_mm([card]) == usual_distances_mm([replace(card, object_mm=60.0)]) == (350, 500, 750, 1100)
    assert usual_distances_mm([card, large]) == usual_distances_mm([large]) == (1300, 1900, 2800, 4150)
    assert usual_distances_mm([replace(large, tag_mm=40.0)]) == (350, 500, 750, 1100)  # tags that nobody reads farther


@pytest.mark.parametrize(
    ("side_mm", "wanted"),
    [(60.0, (90, 130, 180, 250)), (100.0, (150, 190, 240, 310)), (300.0, (450, 570, 720, 920))],
)
def test_a_paper_on_an_object_stands_as_near_as_its_tags_want(
    side_mm: float, wanted: tuple[int, ...], tmp_path: Path, large: Sheet
) -> None:
    made = made_sheet(sign_subject(tmp_path, "on", side_mm=side_mm), "clean", number=0)[0]
    assert usual_distances_mm([made]) == wanted
    assert too_near_notes(make_plan([made], wanted, (0, 45), ("bright",), 1)) == []
    assert min(wanted) >= 1.5 * side_mm, "the object fits into the picture"
    assert max(wanted) <= 1100 / 40 * made.tag_mm, "tags are seen as large as a card's at least"
    assert usual_distances_mm([made, large]) == usual_distances_mm([large]), "what is printed says it for all"


def test_a_paper_beside_an_object_stands_where_its_tags_are_read(tmp_path: Path) -> None:
    made = made_sheet(sign_subject(tmp_path, "beside", side_mm=300.0), "clean", number=0)[0]
    usual = usual_distances_mm([made])
    plan = make_plan([made], usual, (0, 15, 30, 45), ("bright",), 1)
    assert usual[0] == 900 and len(set(usual)) == 4 and too_far_notes(plan) == []


def test_where_the_tags_are_too_small_is_said_with_a_way_on(tmp_path: Path) -> None:
    badge = made_sheet(sign_subject(tmp_path, "on", side_mm=100.0), "clean", number=0)[0]
    (line,) = too_far_notes(make_plan([badge], (250, 470, 900), (0, 30), ("bright",), 1))
    assert line.startswith("at 900 mm the tags of my sign (17 mm) are too small") and "at least 1280 pixels" in line
    enough = float(line.split("up to ")[1].split(",")[0])
    assert 470 <= enough < 900 and not too_far_notes(make_plan([badge], (enough,), (0, 30), ("bright",), 1))
    closer = too_far_notes(make_plan([badge], (470,), (0, 15), ("bright",), 1))
    assert closer, "a frontal sheet is not told from one at 15 degrees there"
    assert not too_far_notes(make_plan([badge], (470,), (15, 30), ("bright",), 1))


@pytest.mark.parametrize(
    ("distances", "angles", "arms", "passes"),
    [
        pytest.param((1400.0,), (0.0,), ("clean",), 1),
        pytest.param((900.0, 1400.0), (0.0, 30.0), ("clean", "noise"), 2, marks=pytest.mark.full),
    ],
)
def test_what_is_planned_without_a_note_is_recorded_whole(
    distances: tuple[float, ...], angles: tuple[float, ...], arms: tuple[Arm, ...], passes: int, tmp_path: Path
) -> None:
    subject = sign_subject(tmp_path, "on", side_mm=300.0)
    made = [made_sheet(subject, arm, number=number) for number, arm in enumerate(arms)]
    plan = make_plan([sheet for sheet, _ in made], distances, angles, ("bright",), passes)
    assert too_far_notes(plan) == too_near_notes(plan) == []
    write_plan(tmp_path, plan)
    session, pictures = Session(tmp_path), {sheet.number: picture for sheet, picture in made}
    cutouts = {sheet.number: subject.cutout for sheet, _ in made}
    operator = VirtualOperator(session, pictures, lambda light: None, cutouts=cutouts)
    record(session, operator, Status("bright", 0, len(made) * len(plan.cells()) * passes), lambda advice, stored: None)
    assert sum(session.missing().values()) == 0
    for done in session.passes:
        assert all(abs(frame.distance_mm / frame.cell.distance_mm - 1) < 0.06 for frame in done.frames if frame.cell)


def test_where_the_tags_leave_the_picture_is_said_with_a_way_on(large: Sheet) -> None:
    (line,) = too_near_notes(make_plan([large], (350, 500, 1750), (0,), ("bright",), 1))
    assert line.startswith("at 350, 500 mm the four tags of my sign") and "plan --distances from " in line
    enough = float(line.split("from ")[1].split()[0])
    assert 500 < enough < 1750 and not too_near_notes(make_plan([large], (enough,), (0,), ("bright",), 1))
    assert too_near_notes(make_plan([large], (enough,), (0,), ("bright",), 1, field_of_view_deg=30.0))


def test_usual_distances_fit(large: Sheet, sheets: list[tuple[Sheet, object]]) -> None:
    for chosen in ([large], [sheet for sheet, _ in sheets]):
        plan = make_plan(chosen, usual_distances_mm(chosen), (0, 45), ("bright",), 1)
        assert too_near_notes(plan) == []


def test_what_is_missing_is_said_with_its_distance_and_its_reason(session: Session, plan: Plan, tmp_path: Path) -> None:
    seen = Counter({Situation.BETWEEN.value: 2, Situation.TAGS_HIDDEN.value: 7})
    assert missing_lines(session, seen) == [
        "missing: 12 at 450 mm, 12 at 800 mm; run it again to go on",
        "of 7 frames it said: show all four tags: only some are seen",
    ]
    assert len(missing_lines(session, {})) == 1
    (tmp_path / "far").mkdir()
    write_plan(tmp_path / "far", replace(plan, distances_mm=(450, 3000)))
    assert missing_lines(Session(tmp_path / "far"), {})[1].startswith(
        "at 3000 mm the tags of stop (40 mm) are too small"
    )


def test_nothing_is_said_of_a_complete_session(recorded: Session) -> None:
    assert missing_lines(recorded, {Situation.TAGS_HIDDEN.value: 7}) == []
