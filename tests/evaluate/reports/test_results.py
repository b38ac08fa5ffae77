import json
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportion_confint

from edgeguard.errors import InputError
from edgeguard.evaluate.reports.masking import masking_warnings
from edgeguard.evaluate.reports.plausible import implausible
from edgeguard.evaluate.reports.results import Cell, read_results, write_results


def _cell(attack: str, eps: float | None, correct: int, n: int = 100, *, gradient_free: bool = False) -> Cell:
    return Cell("p", "white", "input", "frame", attack, eps, "fd", 1, n, correct, gradient_free=gradient_free)


def test_results_come_back(tmp_path: Path) -> None:
    cells = [
        _cell("pgd", 2, 5),
        _cell("mine", 2, 5, gradient_free=True),
        Cell("p", "gray", "transit", "input", "clean", None, "none", 0, 7, 7, paper=1.0),
    ]
    write_results(tmp_path / "results.jsonl", cells)
    assert read_results(tmp_path) == cells


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"schema": 9}', '{"schema": 1, "attack": "x"}', "[]"])
def test_other_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "results.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match="results.jsonl:1"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("n", "x"), ("n", 10**30), ("correct", -1), ("correct", 101), ("eps_8bit", "\x1b[2J"), ("attack", 5),
     ("correct_images", ["x"]), ("spectrum", [None]), ("note", {"a": 1}), ("more", 1),
     ("correct_images", [100]), ("correct_images", [-1]), ("n", 10**9)],
)  # fmt: skip
def test_a_line_of_somebody_else_fits_or_is_named(tmp_path: Path, key: str, value: object) -> None:
    (tmp_path / "results.jsonl").write_text(json.dumps({**_cell("pgd", 2, 5).to_dict(), key: value}) + "\n")
    with pytest.raises(InputError, match=r"results\.jsonl:1"):
        read_results(tmp_path)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (5, 100), (100, 100), (37, 41)])
def test_intervals_are_statsmodels(correct: int, n: int) -> None:
    expected = proportion_confint(correct, n, method="wilson")
    assert _cell("pgd", 1, correct, n).interval == pytest.approx(expected, abs=1e-12)


def test_masking_is_noticed() -> None:
    rising = [_cell("pgd", 1, 10), _cell("pgd", 4, 60)]
    beaten = [_cell("pgd", 8, 50), _cell("mine", 8, 20, gradient_free=True), _cell("worst case", 8, 20)]
    unlimited = [_cell("pgd", 255, 3), _cell("worst case", 255, 3)]
    for cells, word in ((rising, "weak"), (beaten, "no gradient"), (unlimited, "without limit")):
        (line,) = masking_warnings(cells)
        assert word in line
    sound = [
        _cell("pgd", 1, 60),
        _cell("pgd", 4, 10),
        _cell("mine", 4, 30, gradient_free=True),
        _cell("worst case", 255, 0),
    ]
    assert masking_warnings(sound) == []


@pytest.mark.parametrize(
    ("correct", "n", "gates", "said"),
    [
        (88, 100, {"int8_top1": 0.88, "n": 400}, None),
        (80, 100, {"int8_top1": 0.88, "n": 400}, None),  # may be chance
        (60, 100, {"int8_top1": 0.88, "n": 400}, "far below the 88.0 % that the conversion measured (n = 400)"),
        (60, 100, {"int8_top1": None, "n": 400}, None),
        (60, 100, {}, None),
        (3, 100, {}, "no better than chance with 13 classes"),
        (60, 100, {"int8_top1": "high", "n": "many"}, None),
    ],
)
def test_a_clean_accuracy_that_is_odd(correct: int, n: int, gates: dict[str, object], said: str | None) -> None:
    found = implausible(_cell("clean", None, correct, n), gates, 13, is_deployed=True)
    assert found is None if said is None else found is not None and said in found


def test_gates_say_nothing_of_other_defences() -> None:
    cell = _cell("clean", None, 60)
    assert implausible(cell, {"int8_top1": 0.88, "n": 400}, 13, is_deployed=False) is None
