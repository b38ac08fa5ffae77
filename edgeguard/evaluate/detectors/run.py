"""A detector's audit from files to files: what `evaluate run` does for a detector."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeguard.datasets.objects import AnnotatedFolder, AnnotatedImage, annotated_folder
from edgeguard.datasets.readable import readable
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.evaluate.detectors.audit import DetectorAudit, Progress, without_gradients
from edgeguard.evaluate.detectors.candidates import DetectorNetwork
from edgeguard.evaluate.detectors.deployed import own_numbers
from edgeguard.evaluate.detectors.twin import detector_agreement, detector_twin
from edgeguard.evaluate.engine.executors import LocalProcesses
from edgeguard.evaluate.engine.store import Store
from edgeguard.evaluate.guard_rows import unmeasured
from edgeguard.evaluate.protocol import Protocol
from edgeguard.evaluate.rebuild.network import CannotRebuild
from edgeguard.evaluate.reports.folder import claim
from edgeguard.evaluate.reports.masking import masking_warnings
from edgeguard.evaluate.reports.report import Findings, html_report
from edgeguard.evaluate.reports.results import Cell, write_results
from edgeguard.model import Model
from edgeguard.model.contract import Contract
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_partials

_log = logging.getLogger(__name__)

_AGREEMENT_IMAGES = 50
_WORST_BOX_PX, _WORST_STEPS, _WORST_SCORE = 1.0, 2.0, 0.01
_MANY = 2000


@dataclass(frozen=True)
class AuditRequest:
    """What is wanted.

    Attributes:
        model: the deployed file.
        images: folder of pictures with boxes.
        plan: the protocol.
        output: folder of results.
        target: the label that mislabel and create aim at; None for any wrong one.
        workers: processes on this machine.
    """

    model: Path
    images: Path
    plan: Protocol
    output: Path
    target: str | None
    workers: int | None


def audit_detector(request: AuditRequest, deployed: Model, progress: Progress) -> list[Cell]:
    """Run a detector's protocol; resumable. See `evaluate.run.evaluate`.

    Raises:
        InputError: the model or the protocol is for another task, or the pictures' boxes cannot be used.
        DeviceError: a worker was killed, or a result cannot be written.
    """
    contract, plan = deployed.contract, request.plan
    if contract.task != "detect":
        other = ": --protocol quick or guard-audit" if contract.task == "classify" else ""
        raise InputError(
            f"the protocol {plan.name} is for detectors; the task of {request.model} is {contract.task}{other}"
        )
    if plan.task != "detect":
        raise InputError(
            f"{request.model} is a detector and the protocol {plan.name} is for classifiers: --protocol detector-audit"
        )
    target = _target(contract, request)
    folder = annotated_folder(request.images, contract.labels, own_numbers(deployed))
    for line in folder.lines:
        _log.info("%s", line)
    if len(folder.images) > _MANY:
        _log.info("%d pictures are opened first: this takes a while", len(folder.images))
    pictures = _readable(folder, request.images, progress)
    claim(request.output, _facts(plan, deployed, pictures, request.target))
    store = Store(request.output / "adversarial")
    for name in ("results.jsonl", "report.html"):
        clear_partials(request.output / name)
    plan, followed = _possible(plan, request.model, deployed, pictures)
    if (bare := unmeasured(plan, contract)) is not None:
        _log.warning("%s", bare)
    executor = LocalProcesses(request.workers)
    cells: list[Cell] = []
    try:
        audit = DetectorAudit(
            str(request.model), pictures, plan, store=store, executor=executor, progress=progress, target=target,
            classes=len(own_numbers(deployed)),
        )  # fmt: skip
        said = audit.forecast(executor.workers)
        _log.info("%s", said)
        for cell in audit.run():
            cells.append(cell)
            write_results(request.output / "results.jsonl", cells)
    finally:
        executor.close()
    for line in costs(cells):
        _log.info("%s", line)
    warnings = masking_warnings(cells)
    for line in warnings:
        _log.warning("POSSIBLE GRADIENT MASKING: %s", line)
    findings = Findings(
        subject=f"{request.model.name}, SHA-256 {deployed.sha256}",
        twin=followed,
        classes=". ".join(line[0].upper() + line[1:] for line in folder.lines),
        doubts=tuple(costs(cells)) if bare is None else (bare, *costs(cells)),
        warnings=tuple(warnings),
        examples=tuple(audit.examples),
    )
    write_bytes(request.output / "report.html", html_report(plan, cells, findings).encode())
    return cells


def costs(cells: list[Cell]) -> list[str]:
    """What each defence costs in precision on clean pictures, in words."""
    clean = {cell.defence: cell for cell in cells if cell.attack == "clean"}
    bare = clean.get("none")
    if bare is None or bare.ap50 is None:
        return []
    return [
        f"{name} costs {100 * (bare.ap50 - cell.ap50):.1f} points of AP50 on clean pictures "
        f"({100 * bare.ap50:.1f} without, {100 * cell.ap50:.1f} with, n = {cell.n} objects)"
        for name, cell in clean.items()
        if name != "none" and cell.ap50 is not None
    ]


def _target(contract: Contract, request: AuditRequest) -> int | None:
    if request.target is None:
        return None
    if all(one.goal == "vanish" for one in request.plan.attacks):
        raise InputError("--target is for mislabel and create; every attack of the protocol makes objects vanish")
    if request.target not in contract.labels:
        known = ", ".join(contract.labels[:5])
        raise InputError(
            f"the model has no label {request.target!r}; it has {known}{', ...' * (len(contract.labels) > 5)}"
        )
    return contract.labels.index(request.target)


def _readable(folder: AnnotatedFolder, where: Path, progress: Progress) -> list[AnnotatedImage]:
    kept = readable([one.image for one in folder.images], where, progress=partial(progress, "opening images"))
    left = {image.name for image in kept}
    return [one for one in folder.images if one.image.name in left]


def _facts(plan: Protocol, deployed: Model, pictures: list[AnnotatedImage], target: str | None) -> dict[str, Any]:
    decides = {**asdict(plan), "images": 0, "minutes": None, "paper": {}, "paper_source": "", "batch": 0}
    boxes = "".join(f"{one.image.sha256}{one.boxes}" for one in pictures)
    return {
        "protocol": plan.name,
        "model": deployed.sha256,
        "seed": plan.seed,
        "photographs": hashlib.sha256(boxes.encode()).hexdigest(),
        "target": target,
        "attacks and defences": hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest(),
        "images": plan.images,
    }


def _possible(plan: Protocol, model: Path, deployed: Model, pictures: list[AnnotatedImage]) -> tuple[Protocol, str]:
    """The protocol with the attacks that this file allows, and how well its twin follows it."""
    try:
        rebuilt = detector_twin(model)
        assert isinstance(rebuilt.network, DetectorNetwork)
    except CannotRebuild as error:
        _log.warning("%s; left out: %s", error, ", ".join(a.name for a in plan.attacks if not a.gradient_free))
        _log.warning("what is left asks the file alone: NO ROW HERE IS A WORST CASE")
        return without_gradients(plan), f"No twin: {error}. Gradient-free attacks only."
    contents = [one.image.content() for one in pictures[:_AGREEMENT_IMAGES]]
    frames = [decode_whole(content) for content in contents if isinstance(content, bytes)]
    found = detector_agreement(rebuilt, deployed, frames)
    followed = found.line
    steps = found.largest_score / found.step if found.step else found.largest_score / _WORST_SCORE * _WORST_STEPS
    if found.largest_box > _WORST_BOX_PX or steps > _WORST_STEPS:
        followed += "; ATTACKS THROUGH SUCH A TWIN ARE WEAKER THAN THEY COULD BE: read the gradient-free cells"
    _log.info("%s", followed)
    return replace(plan), f"{followed[0].upper()}{followed[1:]}."
