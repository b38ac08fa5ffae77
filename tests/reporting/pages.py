"""Every page that the product makes, with names of the user's in it.

Each maker takes `name`, which turns the name of a place ("model", "label", ...) into the text that stands there, and
gives the page. `PLACES` says which places a page has.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

Name = Callable[[str], str]
Maker = Callable[[Name, Path], str]

PLACES: dict[str, tuple[str, ...]] = {
    "conversion": (
        "model", "profile", "label", "image", "operator", "reason", "failure", "tool", "version", "source",
    ),
    "evaluation, white box": ("title", "model", "twin", "warning", "attack", "defense", "example"),
    "evaluation, gray box": ("title", "model", "twin", "attack", "defense", "paper"),
    "matrix": ("source", "run", "how", "codec", "note", "maker"),
    "search": ("table",),
    "field test": (
        "session", "object", "target", "through", "guard", "light", "label", "note", "question", "model", "arm",
    ),
    "training": ("network", "source", "codec", "data", "method"),
}  # fmt: skip


def conversion(name: Name, folder: Path) -> str:
    """A refused model with operators that do not map."""
    pytest.importorskip("litert_torch", reason="needs the convert extra")
    from edgeguard.guard import GuardProfile
    from edgeguard.model.contract import Contract, ContractGuard, InputSpec
    from edgeguard_converters.edgetpu.predict import EdgeTpuPrediction, OperatorVerdict
    from edgeguard_converters.verify.gates import GateReport
    from edgeguard_converters.verify.latency import Latency
    from edgeguard_converters.verify.layers import Layer
    from edgeguard_converters.verify.report import Findings, WorstImage, html_report

    profile = replace(GuardProfile.preset("fd"), name=name("profile"))
    contract = Contract(
        InputSpec(64, 64),
        guard=ContractGuard(profile, "frame"),
        labels=(name("label"), "b"),
        source_sha256=name("source"),
        calibration_sha256="c" * 64,
        versions={name("tool"): name("version"), "ai-edge-litert": "2.3.0"},
    )
    gates = GateReport(60, 3e-6, 0.7, 0.57, 0.8, 9.5, 0.91, 0.66, (name("failure"),))
    layers = tuple(
        Layer(i, name("operator") if i == 3 else "CONV_2D", "o", (1, 8, 8, 4), 41.0 - 2.1 * i) for i in range(17)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    worst = [
        WorstImage(name("image") if i == 0 else f"tinted/square-{i:04}.png", pixels, "a", name("label"), 6.0 + i)
        for i in range(5)
    ]
    worst.append(WorstImage("the same.png", pixels, name("label"), name("label"), 12.0))
    verdicts = (
        OperatorVerdict(0, "CONV_2D", "o", None),
        OperatorVerdict(1, name("operator"), "o", name("reason")),
    )
    latencies = (Latency(1, 4.2, 1.9), Latency(2, 2.4, 1.2))
    operators = {"CONV_2D": 12, name("operator"): 3, "ADD": 2}
    findings = Findings(layers, latencies, tuple(worst), operators, EdgeTpuPrediction(False, verdicts))
    return html_report(name("model"), contract, gates, findings, 1_234_567)


def _evaluated(name: Name, box: Literal["gray", "white"]) -> str:
    pytest.importorskip("torch", reason="needs the attack extra")
    from edgeguard.evaluate.protocol import AttackPlan, DefensePlan, Protocol
    from edgeguard.evaluate.reports.pictures import Example
    from edgeguard.evaluate.reports.report import Findings, html_report
    from edgeguard.evaluate.reports.results import Cell

    attacks, defenses = (
        (name("attack"), "worst case"),
        ("none", "contract", name("defense"), "contract, two passes (x)"),
    )
    protocol = Protocol(
        "p", name("title"), box, "contract", (AttackPlan("a", "pgd"),), (DefensePlan("none"),),
        paper_source=name("paper"), paper={"a": {"none": 1.0}},
    )  # fmt: skip

    def cell(attack: str, eps: float | None, place: int, right: int, **more: Any) -> Cell:
        threat = "transit" if place == 3 else "input"
        return Cell("p", box, threat, "frame", attack, eps, defenses[place], 1, 50, right, **more)

    cells = [cell("clean", None, place, 48 - 3 * place) for place in range(4)]
    for eps in (1.0, 2.0, 8.0):
        for attack in attacks:
            for place in range(4):
                right = max(int(40 - 4 * eps + 3 * place - (attack == "worst case")), 0)
                proof = {"violations": 0, "certified_share": 0.91} if place == 3 else {}
                note = "capped" if (box, place, eps) == ("gray", 1, 2.0) else ""
                paper = 12.0 if box == "gray" and place else None
                cells.append(cell(attack, eps, place, right, paper=paper, note=note, **proof))
    rng = np.random.default_rng(1)
    before = rng.integers(40, 200, (96, 96, 3)).astype(np.uint8)
    after = (before + rng.integers(-4, 5, before.shape)).astype(np.uint8)
    examples = (Example(name("example"), before, after), Example("pgd", before, after))
    shares = tuple(float(share) for share in rng.beta(8, 2, 60))
    warnings = (name("warning"), "contract: gradients are masked") if box == "white" else ()
    found = Findings(name("model"), name("twin"), warnings, examples if box == "white" else (), shares)
    return html_report(protocol, cells, found)


def evaluation_white(name: Name, folder: Path) -> str:
    """An adaptive evaluation with every section."""
    return _evaluated(name, "white")


def evaluation_gray(name: Name, folder: Path) -> str:
    """An evaluation against a paper's table."""
    return _evaluated(name, "gray")


def matrix(name: Name, folder: Path) -> str:
    """Two trainings, two codecs."""
    pytest.importorskip("torch", reason="needs the attack extra")
    from edgeguard.evaluate.reports.matrix_report import page
    from edgeguard.evaluate.reports.results import Cell

    runs, codecs = (f"matrix:{name('run')}", "matrix:plain"), (name("codec"), "none")
    kinds = (("clean", None, "gray"), (f"fgsm of {name('maker')}", 8.0, "gray"), ("adaptive", 8.0, "white"))
    cells = [
        Cell(
            run,
            box,
            "input",
            "input",
            kind,
            eps,
            codec,
            1,
            100,
            right,
            note=name("note") if box == "white" else "",
            correct_images=tuple(range(i, i + right)),
        )
        for kind, eps, box in kinds
        for i, run in enumerate(runs)
        for codec, right in zip(codecs, (60, 55 - 20 * i), strict=True)
    ]
    return page(cells, name("source"), [(name("run"), name("how")), ("plain", "as they are")])


def search(name: Name, folder: Path) -> str:
    """Tables that were attacked and one that was not."""
    pytest.importorskip("torch", reason="needs the attack extra")
    from edgeguard.evaluate.experiments.search import Candidate, _page

    found = [
        Candidate(name("table"), 0.86, 50, 0.95, 0.3, 0.19, 0.44, 50, True),
        Candidate("fd", 0.88, 50, 0.91, 0.22, 0.13, 0.35, 50, True),
        Candidate("fd-paper", 0.87, 50, 0.82, 0.2, 0.11, 0.33, 50, False),
        Candidate("dc16-16-24", 0.89, 50, None),
    ]
    return _page(found, 2, "frame")


def field_test(name: Name, folder: Path) -> str:
    """Two objects with a patch, two guards, two lights; a stored frame; rendered in the virtual field."""
    from edgeguard.fieldtest.analysis.comparison import Comparison
    from edgeguard.fieldtest.analysis.findings import findings
    from edgeguard.fieldtest.analysis.paired import Difference
    from edgeguard.fieldtest.analysis.report import html_report
    from edgeguard.fieldtest.analysis.score import Outcome, Scores
    from edgeguard.fieldtest.session.plan import make_plan, write_plan
    from edgeguard.fieldtest.session.session import FrameRecord, Pass, Session
    from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet
    from edgeguard.guard import GuardProfile, encode_jpeg

    place = Overlay((0, 20), 38)
    thing, label, guard = name("object"), name("label"), name("guard")
    sheets = [
        Sheet(1, thing, label, "clean"), Sheet(2, thing, label, "plain", overlay=place),
        Sheet(3, thing, label, "noise", overlay=place),
        Sheet(4, thing, label, "patch", overlay=place, target=name("target"), through_guard=name("through")),
    ]  # fmt: skip
    plan = make_plan(sheets, (500, 800), (0, 30), ("bright", "dim"), passes=3, frames=1)
    write_plan(folder, plan)
    frame = np.random.default_rng(2).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    data = encode_jpeg(frame, GuardProfile.preset("jpeg:90"))
    (folder / "x.jpg").write_bytes(data)
    (folder / "virtual").write_text("")
    session = Session(folder)
    session.plan = plan = replace(plan, lights=(name("light"), "dim"))  # no such light passes a plan: as if one had
    outcomes: list[Outcome] = []
    passes: list[Pass] = []
    for sheet in sheets:
        for cell in plan.cells():
            for repeat in range(3):
                number = len(passes)
                record = FrameRecord(
                    "x.jpg", sha256(data).hexdigest(), 0.0, cell.distance_mm, cell.angle_deg, 1.0, 4, cell, None, {}
                )
                passes.append(Pass(plan.session, number, sheet.number, cell, repeat, (record,)))
                for one, rate in (("off", 3), (guard, 1)):
                    hit = sheet.arm == "patch" and (number + repeat) % 4 < rate
                    outcomes.append(Outcome(number, 0, one, 1 if hit else 0, 0.9, False, "none", 1.5))
    session.passes = passes
    scores = Scores(plan.session, name("model"), (label, name("target")), ("off", guard), tuple(outcomes))
    found = findings(session, scores)
    comparison = Comparison(name("question"), Difference(0.0, -0.2, 0.2, 0.8, 24))
    arm: Any = name("arm")  # a file may hold any text
    found = replace(found, plan=replace(plan, session=name("session")), notes=(*found.notes, name("note")),
                    comparisons=(comparison, *found.comparisons),
                    arms=(*found.arms, replace(found.arms[0], sheet=replace(sheets[0], arm=arm))))  # fmt: skip
    return html_report(session, found)


def training(name: Name, folder: Path) -> str:
    """The curves of twelve epochs."""
    pytest.importorskip("torch", reason="needs the convert extra")
    from edgeguard.train.config import TrainConfig
    from edgeguard.train.curves import curves_page
    from edgeguard.train.log import Epoch

    config = TrainConfig(data=name("data"))
    for field in ("network", "codec", "method"):  # no name passes the checks: as if one had
        object.__setattr__(config, field, name(field))
    epochs = [
        Epoch(
            i,
            40 * i,
            2.2 / (1 + i / 3),
            0.3 + 0.04 * i,
            0.28 + 0.04 * i,
            0.25 + 0.04 * i,
            0.31 + 0.04 * i,
            1000,
            0.1,
            30.0 * i,
        )
        for i in range(1, 13)
    ]
    return curves_page(config, epochs, name("source"), 612_000)


MAKERS: dict[str, Maker] = {
    "conversion": conversion,
    "evaluation, white box": evaluation_white,
    "evaluation, gray box": evaluation_gray,
    "matrix": matrix,
    "search": search,
    "field test": field_test,
    "training": training,
}
