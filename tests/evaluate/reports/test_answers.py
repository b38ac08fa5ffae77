"""Whether a guard helps, in a line."""

from dataclasses import replace

from edgeguard.evaluate.reports.answers import answers
from edgeguard.evaluate.reports.results import Cell


def _cell(attack: str, eps: float | None, defence: str, right: range, n: int = 40) -> Cell:
    return Cell(
        "p", "white", "input", "frame", attack, eps, defence, 0 if defence == "none" else 1, n, len(right), "same",
        correct_images=tuple(right),
    )  # fmt: skip


def test_each_defense_gets_a_line_with_its_budgets() -> None:
    cells = [
        _cell("clean", None, "none", range(40)), _cell("pgd", 1, "none", range(0)),
        _cell("worst case", 1, "none", range(2)), _cell("worst case", 2, "none", range(30)),
        _cell("worst case", 1, "fd", range(30)), _cell("worst case", 2, "fd", range(31)),
        _cell("worst case", 2, "bits:4", range(1)),
    ]  # fmt: skip
    first, second = answers(cells)
    assert first.startswith("does fd help against these attacks? eps 1: yes, +70 [+")
    assert "; eps 2: not shown, +2 [-" in first and first.endswith("(points against none, 95 %, paired)")
    assert second.startswith("does bits:4 help against these attacks? eps 2: no, it is worse, -72 [-")


def test_detectors_are_told_by_attack() -> None:
    bare = replace(_cell("vanish", 4, "none", range(10)), goal="vanish")
    behind = replace(_cell("vanish", 4, "fd", range(38)), goal="vanish")
    shown = replace(behind, defence="lgs", note="made without it")
    assert answers([bare, behind, shown, replace(behind, attack="asking", gradient_free=True)]) == [
        "does fd help against these attacks? vanish eps 4: yes, +70 [+51, +82] (points against none, 95 %, paired)"
    ]


def test_nothing_is_answered_of_other_images() -> None:
    bare, behind = _cell("worst case", 1, "none", range(2)), _cell("worst case", 1, "fd", range(30), n=39)
    assert answers([bare, behind]) == answers([bare]) == answers([]) == []


def test_an_attack_that_did_nothing_without_a_defense_says_nothing() -> None:
    clean = replace(_cell("clean", None, "none", range(38)), goal="vanish")
    for goal, bare_right, said in (("mislabel", 38, True), ("mislabel", 20, False), ("create", 40, True)):
        bare = replace(_cell(goal, 8, "none", range(bare_right)), goal=goal)
        behind = replace(_cell(goal, 8, "fd", range(40)), goal=goal)
        line = answers([clean, bare, behind])[0]
        assert ("says nothing, it did no harm without a defense either" in line) is said, line


def test_the_reader_is_told_which_row_is_his_and_how_many_pictures_tell_more() -> None:
    rows = [
        replace(_cell("vanish", 4, name, right, n=3), goal="vanish")
        for name, right in (("none", range(1)), ("fd", range(2)), ("fd, two passes (computed)", range(3)))
    ]
    lines = answers(rows)
    assert any(
        line.startswith("two passes: only where a sensor") and "fd without these words" in line for line in lines
    )
    assert lines[-1].startswith("3 pictures show only differences of about ") and "--limit " in lines[-1]


def test_a_defense_that_hides_every_object_from_a_detector_holds_nothing() -> None:
    clean = replace(_cell("clean", None, "chunks", range(0)), goal="vanish")
    bare = replace(_cell("mislabel", 8, "none", range(4)), goal="mislabel")
    behind = replace(_cell("mislabel", 8, "chunks", range(40)), goal="mislabel")  # no box is no wrong box
    assert answers([clean, bare, behind]) == [
        "does chunks help? Behind it no object is found in clean pictures: its rows say nothing"
    ]
    (said,) = answers([replace(clean, correct=39, correct_images=tuple(range(39))), bare, behind])
    assert said.startswith("does chunks help against these attacks? mislabel eps 8: yes, +90")
