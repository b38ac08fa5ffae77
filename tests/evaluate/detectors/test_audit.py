"""A detector's audit from files to files, and patches against detectors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import here
from evaluate.detectors.made_detectors import detector, write_coco

from edgeguard.datasets.objects import TrueBox
from edgeguard.errors import InputError
from edgeguard.evaluate.detectors import run as audit_run
from edgeguard.evaluate.engine.executors import ThisProcess
from edgeguard.evaluate.protocol import Protocol, parse_protocol
from edgeguard.evaluate.reports.results import read_results
from edgeguard.evaluate.run import evaluate
from edgeguard.fieldtest.patches.arm_doubts import arm_doubts, losing
from edgeguard.fieldtest.patches.detector_field import ArmResult, FieldCheck, counted
from edgeguard.fieldtest.patches.detector_job import make_for_detector
from edgeguard.fieldtest.patches.optimize import Recipe
from edgeguard.fieldtest.patches.order import PatchOrder
from edgeguard.fieldtest.sheets.patch_file import read_patch
from edgeguard.model.prediction import BoxScore

pytest.importorskip("pycocotools", reason="needs the attack extra")

PICTURES: list[tuple[tuple[int, int], ...]] = [((0, 0), (10, 1)), ((5, 1),), ((7, 0),), ((3, 0), (12, 0))]
PLAN = """
schema = 1
name = "small"
title = "small"
task = "detect"
box = "white"
place = "frame"
images = 4
[[attack]]
name = "vanish"
kind = "pgd"
goal = "vanish"
eps_8bit = [4, 60]
steps = 10
early_stop = true
[[attack]]
name = "create"
kind = "pgd"
goal = "create"
eps_8bit = [60]
steps = 10
early_stop = true
[[attack]]
name = "mislabel, asking"
kind = "square"
goal = "mislabel"
eps_8bit = [90]
queries = 40
[[defence]]
name = "none"
[[defence]]
name = "fd"
when = "computed"
[[defence]]
name = "lgs"
"""


class _HereAndNow(ThisProcess):
    """Jobs in this process, as many cores as it is told."""

    def __init__(self, workers: int | None) -> None:
        self.workers = workers or 1


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector and annotated pictures; jobs run in this process."""
    monkeypatch.setattr(audit_run, "LocalProcesses", _HereAndNow)
    (tmp_path / "det.tflite").write_bytes(detector())
    write_coco(tmp_path / "coco", PICTURES)
    return tmp_path


def _plan(text: str = PLAN) -> Protocol:
    return parse_protocol(text, "t.toml")


@pytest.mark.full
def test_an_audit_counts_objects_and_precision_and_goes_on(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cells = evaluate(files / "det.tflite", files / "coco", _plan(), files / "out", workers=1)
    by = {(c.attack, c.eps_8bit, c.defence): c for c in cells}
    clean, small, large = by["clean", None, "none"], by["vanish", 4, "none"], by["vanish", 60, "none"]
    assert (clean.correct, clean.n) == (6, 6) and clean.ap50 == clean.ap == pytest.approx(1)
    assert small.correct == 6 and large.correct == 0 and large.ap50 == 0 and large.goal == "vanish"
    assert by["create", 60, "none"].n == 4, "pictures, not objects"
    assert by["create", 60, "none"].correct == 0 and large.ap50_high == 0
    assert by["mislabel, asking", 90, "none"].gradient_free
    assert by["vanish", 60, "lgs"].note == "made without it"
    assert by["vanish", 60, "fd, two passes (computed)"].correct == 0
    said = caplog.text
    assert "the twin agrees with the file on 4 images" in said and "forecast: at most about" in said
    assert "classes by name: 2 of 2" in said and "4 pictures with 6 objects" in said
    page = (files / "out" / "report.html").read_text()
    assert "Objects found as what they are" in page and "costs" in page
    assert read_results(files / "out") == cells
    kept = {path: path.stat().st_mtime_ns for path in (files / "out" / "adversarial").rglob("*.adv")}
    assert len(kept) == 4 * 4 * 2  # pictures, attacks, defences that attacks are made through
    assert evaluate(files / "det.tflite", files / "coco", _plan(), files / "out", workers=1) == cells
    assert kept == {path: path.stat().st_mtime_ns for path in (files / "out" / "adversarial").rglob("*.adv")}


def test_what_cannot_be_audited_is_said(files: Path, card_model: Path, card_images: Path) -> None:
    det, coco, out = files / "det.tflite", files / "coco", files / "out"
    for model, images, plan, more, why in (
        (det, coco, "guard-audit", {}, "is a detector and the protocol guard-audit is for classifiers: --protocol"),
        (card_model, coco, "detector-audit", {}, "is for detectors; the task of .*cards.tflite is classify"),
        (det, card_images, _plan(), {}, "holds no boxes"),
        (det, coco, _plan(), {"target": "blue"}, "the model has no label 'blue'; it has red, green"),
        (det, coco, _plan(), {"minutes": 3.0}, "--minutes and --ray are for classifiers"),
        (det, coco, "quick", {}, "the protocol quick is for classifiers: --protocol detector-audit"),
    ):
        keywords: dict[str, Any] = dict(more)
        with pytest.raises(InputError, match=why):
            evaluate(model, images, plan, out, workers=1, **keywords)
    only_vanish = _plan(PLAN.replace('"create"\neps', '"vanish"\neps').replace('goal = "mislabel"', 'goal = "vanish"'))
    with pytest.raises(InputError, match="every attack of the protocol makes objects vanish"):
        evaluate(det, coco, only_vanish, out, workers=1, target="red")
    assert not out.exists()


@pytest.mark.full
def test_a_head_that_is_not_known_is_asked_alone(
    files: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeguard.evaluate.rebuild.network import CannotRebuild

    def refuse(*_: object) -> None:
        raise CannotRebuild("the twin does not know TOPK_V2: only gradient-free attacks are possible")

    monkeypatch.setattr(audit_run, "detector_twin", refuse)
    monkeypatch.setattr("edgeguard.evaluate.detectors.audit.gradient_victim", refuse)
    cells = evaluate(files / "det.tflite", files / "coco", _plan(), files / "out", limit=1, workers=1)
    assert {c.attack for c in cells} == {"clean", "vanish, asking", "create, asking", "mislabel, asking"}
    assert all(c.gradient_free for c in cells if c.attack != "clean")
    assert "NO ROW HERE IS A WORST CASE" in caplog.text and "TOPK_V2" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('task = "detect"\n', "", "goal is vanish, mislabel or create with task"),
        ('goal = "create"\n', "", "got 'misclassify'"),
        ('name = "lgs"', 'name = "tvm"', "in front of a detector stand none, contract, .*, not 'tvm'"),
        ('when = "computed"', 'when = "added"', 'in front of a detector when is "once" or "computed"'),
        ('box = "white"', 'box = "gray"', 'task = "detect" wants box = "white"'),
        ("images = 4", "images = 4\nminutes = 3", "neither minutes nor transfer"),
        ("queries = 40", "queries = 40\ntransfer = true", "neither minutes nor transfer"),
        ('name = "lgs"', 'name = "lgs"\nlimit = 3', "there is no limit"),
    ],
)
def test_a_protocol_that_does_not_fit_detectors(old: str, new: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        _plan(PLAN.replace(old, new))


def test_a_patch_on_photographs_makes_objects_vanish(files: Path) -> None:
    """One patch for all objects of a class, pasted digitally; it goes on where it was stopped."""
    order = PatchOrder(model=files / "det.tflite", target=None, card=None, images=files / "coco", area=0.5)
    recipe = Recipe(None, steps=12, batch=2, resolution=8, smoothness=0, printability=0)
    made = make_for_detector(order, recipe, files / "p", mode="vanish", label="red")
    assert made.successes >= 10 and made.arms == () and made.against == ()
    about, _ = read_patch(files / "p")
    assert about.mode == "vanish" and about.target is None
    assert '"mode"' in (files / "p" / "patch.json").read_text()
    with pytest.raises(InputError, match=r"made with other settings \(mode\)"):
        make_for_detector(order, recipe, files / "p", mode="create", label="red")
    with pytest.raises(InputError, match="no picture holds an object of this class"):
        write_coco(files / "green", [((5, 1),)])
        other = replace(order, images=files / "green")
        make_for_detector(other, recipe, files / "q", mode="vanish", label="red")


def test_why_a_patch_loses_against_plain_gray() -> None:
    def arm(name: str, found: int) -> ArmResult:
        return ArmResult(name, found, 40, 0.5, 0.4, 0.6, 0, 0)

    arms = [arm("clean", 40), arm("plain", 38), arm("noise", 39), arm("patch", 38)]
    lines = losing(arms, "vanish", 1, 12, 0.1)
    assert "2 of 40 views go its way, 2 with plain gray" in lines[0] and "more --steps" in lines[1]
    assert "larger --batch" in losing(arms, "vanish", 1, 12, 0.9)[1]
    assert "the deployed file is not" in losing(arms, "vanish", 12, 12, 0.9)[1]
    assert "too few to lose" in losing([arm("clean", 30), *arms[1:]], "vanish", 12, 12, 0.9)[1]
    assert losing([*arms[:3], arm("patch", 3)], "vanish", 12, 12, 1.0) == ()
    assert losing([*arms[:3], arm("patch", 30)], "vanish", 12, 12, 1.0) == ()
    by_chance = losing([*arms[:3], arm("patch", 36)], "vanish", 12, 12, 1.0)
    assert by_chance[0].startswith("it beats the plain control by no more than chance: 4 of 40 views go its way, 2")


def test_views_that_can_show_little_of_any_patch() -> None:
    def arm(name: str, found: int) -> ArmResult:
        return ArmResult(name, found, 48, 0.5, 0.4, 0.6, 0, 0)

    (line,) = arm_doubts([arm("clean", 23), arm("plain", 12), arm("patch", 3)], "vanish", "on")
    assert "FOUND IN 23 OF 48" in line and "--distances NEAR,FAR (fieldtest plan finds some), a smaller --angle" in line
    (line,) = arm_doubts([arm("clean", 36), arm("plain", 3), arm("patch", 1)], "vanish", "on")
    assert "IN 45 OF 48 VIEWS ALREADY" in line and "another --at, --mount sheet or --mount beside" in line
    (line,) = arm_doubts([arm("clean", 36), arm("plain", 3), arm("patch", 1)], "vanish", None)
    assert line.endswith("another --at")
    assert arm_doubts([arm("clean", 24), arm("plain", 20), arm("patch", 1)], "vanish", "on") == ()
    assert arm_doubts((), "vanish", None) == ()


@pytest.mark.parametrize(("target", "renamed", "created"), [(None, 1, 1), (2, 1, 0), (3, 0, 1)])
def test_an_arm_is_judged_by_what_the_patch_aims_at(target: int | None, renamed: int, created: int) -> None:
    on_it = 10.0, 10.0, 30.0, 30.0
    own, other, far = (BoxScore("", 1, 0.9, *on_it), BoxScore("", 2, 0.8, *on_it), BoxScore("", 3, 0.7, 60, 60, 80, 80))
    found = [(other,), (own, other), (own, far)]
    arm = counted("patch", [[TrueBox(1, on_it)]] * 3, found, FieldCheck("thing", 1, target=target))
    assert (arm.found, arm.said, arm.invented) == (2, 2, 1) and (arm.renamed, arm.created) == (renamed, created)
    plain = replace(arm, renamed=2, created=2)
    assert (
        "2 with plain gray"
        in losing([replace(arm, arm="clean"), replace(plain, arm="plain"), arm], "mislabel", 0, 12, 1)[0]
    )


def test_the_command_says_what_mode_wants(files: Path) -> None:
    for words, why in (
        (("--mode", "hide"), "--mode is vanish, mislabel or create, got 'hide'"),
        (("--mode", "vanish", "--card", "stop", "--label", "blue"), "the model has no label 'blue'"),
        ((), "for a detector --mode vanish, mislabel or create"),
    ):
        done = here("patch", "make", files / "det.tflite", "--output", files / "p", *words)
        assert done.returncode == 2 and why in done.stderr, done.stderr
