"""Small protocols on the card model, through files, processes and the command line."""

import json
import os
from pathlib import Path

import pytest

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate import pace, run
from edgeguard.evaluate.engine import jobs
from edgeguard.evaluate.engine.evaluation import Evaluation
from edgeguard.evaluate.forecast import Costs
from edgeguard.evaluate.protocol import Protocol, parse_protocol
from edgeguard.evaluate.reports.results import read_results
from edgeguard.evaluate.run import evaluate

GRAY = """
schema = 1
name = "small-gray"
title = "small, gray box"
box = "gray"
place = "input"
images = 6
batch = 3
[[attack]]
name = "fgsm"
eps_8bit = 8
[[attack]]
name = "bim"
eps_8bit = 6
step_8bit = 1
steps = 6
[[defence]]
name = "none"
[[defence]]
name = "bits:4"
[[defence]]
name = "fd-paper"
[[defence]]
name = "fd-paper"
when = "added"
[[defence]]
name = "fd-paper"
when = "computed"
[[defence]]
name = "fd-paper"
when = "before"
[paper.fgsm]
none = 0
"""

WHITE = """
schema = 1
name = "small-white"
title = "small, white box"
box = "white"
place = "contract"
images = 2
batch = 2
[[attack]]
name = "pgd"
eps_8bit = [1, 24]
steps = 4
backwards = ["straight-through", "identity"]
[[attack]]
name = "dct-1"
kind = "dct-pgd"
eps_8bit = [1, 24]
steps = 4
bands = 1
[[attack]]
name = "square"
eps_8bit = [24]
queries = 10
[[defence]]
name = "none"
[[defence]]
name = "contract"
[[defence]]
name = "contract"
when = "computed"
"""
DETECTOR = """
[[defence]]
name = "shield"
[[defence]]
name = "feature-squeezing"
"""


class InProcess:
    """Runs jobs here, and counts the attacks."""

    def __init__(self, workers: int | None = None) -> None:
        self.attacks = 0

    def map(self, function, given):
        for index, job in enumerate(given):
            self.attacks += function is jobs.run_attack
            yield index, function(job)

    def close(self) -> None:
        pass


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    executor = InProcess()
    monkeypatch.setattr(run, "LocalProcesses", lambda workers: executor)
    return executor


def _plan(text: str) -> Protocol:
    return parse_protocol(text, "t.toml")


@pytest.mark.full
def test_a_gray_box_table(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess, said: list[str]
) -> None:
    cells = evaluate(card_model, card_images, _plan(GRAY), tmp_path / "out")
    assert read_results(tmp_path / "out") == cells and "agrees" in said[1]
    assert said[2].startswith("forecast: at most about ") and "on 1 core (6 images, 2 attacks, 6 defenses; a" in said[2]
    assert said[0].startswith("classes: folders by the model's labels: 12 classes: stop = 0, no entry = 1")
    by = {(c.attack, c.defence): c for c in cells}
    assert len(by) == len(cells) == 18
    assert by["bim", "none"].correct < by["clean", "none"].correct and by["bim", "none"].n == 6
    assert by["fgsm", "none"].paper == 0
    # in the scene two passes are one
    assert by["bim", "fd-paper, two passes (before)"].correct == by["bim", "fd-paper"].correct
    assert {c.threat for c in cells} == {"input", "transit", "scene"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Classes: folders by the model&#39;s labels: 12 classes" in page
    assert "What these numbers do not say" in page and "<svg" not in page.split("<h2>Attacked images")[0]
    # of each attack an example in four pictures, and the spectrum of all images
    assert page.count("data:image/png;base64") == 2 * (4 + 1) and "http" not in page

    first = in_process.attacks
    again = evaluate(card_model, card_images, _plan(GRAY), tmp_path / "out")
    assert again == cells and in_process.attacks == first, "everything was there already"
    victim = next((tmp_path / "out").rglob("*.adv"))
    victim.write_bytes(victim.read_bytes()[:99])
    assert evaluate(card_model, card_images, _plan(GRAY), tmp_path / "out") == cells
    assert in_process.attacks == first + 1, "the half-written one was made again"


def test_the_example_of_every_key_runs(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess
) -> None:
    example = Path(__file__).parents[2] / "examples" / "every-key.toml"
    cells = evaluate(card_model, card_images, str(example), tmp_path)
    assert {(c.attack, c.n) for c in cells if c.threat == "transit"} == {("clean", 1), ("mine", 1), ("worst case", 1)}
    assert "shows how a protocol is written" in (tmp_path / "report.html").read_text()


@pytest.mark.full
def test_a_white_box_audit(card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess) -> None:
    lefts: list[float] = []
    cells = evaluate(card_model, card_images, _plan(WHITE), tmp_path, left=lefts.append)
    assert len(lefts) == len(cells) and lefts[0] > lefts[-1] == 0
    by = {(c.attack, c.eps_8bit, c.defence): c for c in cells}
    assert by["clean", None, "contract"].place == "frame"
    for defence in ("none", "contract", "contract, two passes (computed)"):
        worst = by["worst case", 24, defence]
        others = [by[attack, 24, defence] for attack in ("pgd", "dct-1", "square")]
        assert set(worst.correct_images) == set.intersection(*(set(c.correct_images) for c in others))
    transit = by["dct-1", 1, "contract, two passes (computed)"]
    assert transit.violations == 0 and transit.certified_share is not None and transit.certified_share > 0.5
    page = (tmp_path / "report.html").read_text()
    assert "Worst case of each image against the budget" in page and "0 violations" in page
    assert "contract costs" in page and "(95 %, paired), n = 23" in page
    results = (tmp_path / "results.jsonl").read_bytes()
    other = _plan(WHITE.replace("steps = 4", "steps = 5").replace("small-white", "other"))
    with pytest.raises(InputError, match="holds the results of another evaluation .its protocol is small-white"):
        evaluate(card_model, card_images, other, tmp_path)
    assert (tmp_path / "results.jsonl").read_bytes() == results


@pytest.mark.full
def test_the_smallest_budget_of_each_image(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess
) -> None:
    """Every attack gets what is left; more budget never leaves more; the file decides; nothing is made twice."""
    text = WHITE.replace("images = 2", 'images = 3\nbudgets = "smallest"').replace("[1, 24]", "[1, 6, 24]")
    text = text.split('[[attack]]\nname = "dct-1"')[0].replace('name = "pgd"', 'name = "lattice"').replace(
        'backwards = ["straight-through", "identity"]', "restarts = 1"
    )  # fmt: skip
    text += '[[attack]]\nname = "square"\neps_8bit = [24]\nqueries = 10\n'
    text += '[[defence]]\nname = "contract"\nwhen = "computed"\n'
    cells = evaluate(card_model, card_images, _plan(text), tmp_path)
    worst = {c.eps_8bit: set(c.correct_images) for c in cells if c.attack == "worst case"}
    assert worst[24] <= worst[6] <= worst[1] and len(worst[24]) < 3
    lattice = {c.eps_8bit: c for c in cells if c.attack == "lattice"}
    square = next(c for c in cells if c.attack == "square")
    assert square.left_before == lattice[24].correct and set(square.correct_images) == worst[24]
    held = lattice[1]
    assert held.violations == 0 and held.proven is not None and held.proven <= held.correct
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line.get("left_before") for line in lines if line["attack"] == "clean"] == [None]
    assert read_results(tmp_path) == cells
    made = sorted(tmp_path.rglob("*.adv"))
    assert evaluate(card_model, card_images, _plan(text), tmp_path) == cells
    assert sorted(tmp_path.rglob("*.adv")) == made


@pytest.mark.full
def test_a_weak_attack_is_noticed(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess, said: list[str]
) -> None:
    """A lattice attack of one tiny step in front of one that works: the audit says so."""
    text = (
        WHITE.split("[[attack]]")[0].replace("images = 2", 'images = 4\nbudgets = "smallest"')
        + """
[[attack]]
name = "lattice"
eps_8bit = 24
steps = 1
restarts = 1
share = 0.001
[[attack]]
name = "pgd"
eps_8bit = 24
steps = 12
[[defence]]
name = "contract"
"""
    )
    evaluate(card_model, card_images, _plan(text), tmp_path)
    assert any("pgd takes" in line and "left at eps 24: those are weak" in line for line in said), said


@pytest.mark.parametrize("kind", ['"square"\nqueries = 60', '"autoattack"\nparts = ["square"]\nqueries = 60'])
def test_masking_is_noticed_whatever_the_attacks_are_called(
    kind: str, card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess, said: list[str]
) -> None:
    """A gradient attack that hardly moves beside one without gradients that does."""
    if "autoattack" in kind:
        pytest.importorskip("pyautoattack", reason="needs the attack extra")
    text = (
        WHITE.split("[[attack]]")[0]
        + f"""
[[attack]]
name = "square"
kind = "pgd"
eps_8bit = 64
steps = 1
step_8bit = 0.01
random_start = false
[[attack]]
name = "mine"
kind = {kind}
eps_8bit = 64
[[defence]]
name = "none"
"""
    )
    cells = evaluate(card_model, card_images, _plan(text), tmp_path)
    assert {cell.attack: cell.gradient_free for cell in cells} == {
        "clean": False, "square": False, "mine": True, "worst case": False,
    }  # fmt: skip
    assert any("MASKING: none: mine, which sees no gradient, leaves" in line for line in said), said
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line.get("gradient_free") for line in lines] == [None, None, True, None]


@pytest.mark.full
def test_randomised_defences_and_detectors(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess
) -> None:
    text = WHITE.split("[[defence]]")[0] + DETECTOR
    cells = evaluate(card_model, card_images, _plan(text), tmp_path)
    by = {(c.attack, c.eps_8bit, c.defence): c for c in cells}
    assert by["clean", None, "feature-squeezing"].correct < by["clean", None, "shield"].n
    assert by["worst case", 24, "shield"].n == 2


@pytest.mark.full
def test_a_surrogate_is_what_transfer_attacks_see(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess
) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(card_model.read_bytes() + b"    ")  # the same net under another hash
    text = (
        WHITE.split("[[attack]]")[0]
        + """
[[attack]]
name = "pgd"
eps_8bit = 4
steps = 2
transfer = true
[[defence]]
name = "contract"
"""
    )
    evaluate(card_model, card_images, _plan(text), tmp_path / "out")
    first = in_process.attacks
    evaluate(card_model, card_images, _plan(text), tmp_path / "other", surrogate=other)
    assert in_process.attacks == 2 * first > 0


@pytest.mark.full
def test_minutes_choose_how_many_images_are_attacked(
    card_model: Path,
    card_images: Path,
    tmp_path: Path,
    in_process: InProcess,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = Costs({"none": 0.01, "contract": 0.01}, {"none": 1.0, "contract": 1.0})
    monkeypatch.setattr(pace, "measured", lambda *rest, **more: costs)
    plan = _plan(WHITE.replace("images = 2", "images = 20"))
    with pytest.raises(InputError, match="0.2 minutes are not enough: one image takes about"):
        evaluate(card_model, card_images, plan, tmp_path, minutes=0.2)
    cells = evaluate(card_model, card_images, plan, tmp_path, minutes=2.5)
    attacked = {cell.n for cell in cells if cell.attack != "clean"}
    assert len(attacked) == 1 and 1 <= attacked.pop() < 20, "every row has the same images"
    assert any("2.5 minutes:" in line and "of 20 images are attacked" in line for line in said)
    assert "images are attacked, drawn by the seed" in (tmp_path / "report.html").read_text()


def test_rows_that_time_does_not_reach_are_named(
    card_model: Path,
    card_images: Path,
    tmp_path: Path,
    in_process: InProcess,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = Costs({"none": 0.0, "contract": 0.0}, {"none": 0.0, "contract": 0.0})
    monkeypatch.setattr(pace, "measured", lambda *rest, **more: costs)
    monkeypatch.setattr(pace, "_PATIENCE", 0.0)
    cells = evaluate(card_model, card_images, _plan(WHITE), tmp_path, minutes=60)
    assert [cell.attack for cell in cells] == ["clean"]
    assert "the time is over: rows that were not reached: clean, contract," in said[-1]


def test_no_image_is_right(card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    pictures = sorted(card_images.rglob("*.png"))[:4]
    rows = []
    for picture in pictures:
        (wrong / picture.name).write_bytes(picture.read_bytes())
        rows.append(f"{picture.name},999")
    (wrong / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match="there is no class 999: the model has 12 classes"):
        evaluate(card_model, wrong, _plan(GRAY), tmp_path / "out")
    (wrong / "labels.csv").write_text("\n".join(row.replace("999", "11") for row in rows))
    with pytest.raises(InputError, match="none of these images"):
        evaluate(card_model, wrong, _plan(GRAY), tmp_path / "out")


def test_images_are_chosen_by_the_seed(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    images = read_labeled_folder(card_images, ())
    from dataclasses import replace

    from edgeguard.evaluate.engine.store import Store

    def order(seed: int) -> list[str]:
        plan = replace(_plan(GRAY), seed=seed)
        return [
            s.path for s in Evaluation(card_model, images, plan, store=Store(tmp_path), executor=InProcess()).samples
        ]

    assert order(1) == order(1) != order(2)


@pytest.mark.full
def test_a_model_that_the_twin_cannot_rebuild(
    card_model: Path,
    card_images: Path,
    tmp_path: Path,
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    monkeypatch.setattr(
        "edgeguard.evaluate.rebuild.network.unsupported", lambda operator: f"{operator.name} of tomorrow"
    )
    monkeypatch.setattr(run, "_QUERIES", {"square": {"queries": 20}, "hop-skip-jump": {"steps": 1, "queries": 20}})
    cells = evaluate(card_model, card_images, _plan(WHITE), tmp_path)
    told = {cell.attack for cell in cells}
    assert told == {"clean", "square", "hop-skip-jump", "gradient-free attacks only"}, "none of them is a worst case"
    for attack in told - {"clean"}:
        assert {cell.eps_8bit for cell in cells if cell.attack == attack} == {1, 24}, "each budget of the protocol"
    assert "does not know" in said[1] and "left out: pgd" in said[1] and "NO ROW HERE IS A WORST CASE" in said[2]
    page = (tmp_path / "report.html").read_text()
    assert "No twin" in page and "orst case of" not in page and "no attack had a gradient" in page
    assert "The attacker knows the model" not in page
    with pytest.raises(InputError, match="has none"):
        evaluate(card_model, card_images, _plan(GRAY), tmp_path / "gray")


@pytest.mark.full
def test_a_full_disk_keeps_what_is_there(
    card_model: Path, card_images: Path, tmp_path: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.fsync, [3]

    def filling_up(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("os.fsync", filling_up)
    with pytest.raises(DeviceError, match="No space left"):
        evaluate(card_model, card_images, _plan(GRAY), tmp_path)
    monkeypatch.setattr("os.fsync", real)
    evaluate(card_model, card_images, _plan(GRAY), tmp_path)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "nothing half-written is left"
