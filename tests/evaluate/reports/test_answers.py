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


def test_an_attack_that_fails_without_a_defense_says_nothing_of_one() -> None:
    bare, behind = _cell("worst case", 1, "none", range(40)), _cell("worst case", 1, "fd", range(39))
    (line,) = answers([bare, behind])
    assert "eps 1: says nothing, the attack fails without it as well (" in line
    assert "no, it is worse" in answers([bare, replace(behind, correct=20, correct_images=tuple(range(20)))])[0]


def test_where_two_passes_hold_is_said() -> None:
    bare, behind = _cell("worst case", 1, "none", range(2)), _cell("worst case", 1, "fd, two passes", range(30))
    assert answers([bare, behind])[1].startswith("two passes: only where a sensor does pass 1 and the attacker sits")


def test_nothing_is_answered_of_other_images() -> None:
    bare, behind = _cell("worst case", 1, "none", range(2)), _cell("worst case", 1, "fd", range(30), n=39)
    assert answers([bare, behind]) == answers([bare]) == answers([]) == []
