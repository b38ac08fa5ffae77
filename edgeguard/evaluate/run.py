"""One evaluation from files to files: the entry point of the command line and of scripts."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeguard.datasets.classes import Classes
from edgeguard.datasets.images import LabeledImage, labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.attacks.installed import check_installed
from edgeguard.evaluate.detectors.run import AuditRequest, audit_detector
from edgeguard.evaluate.engine.evaluation import Evaluation, Progress
from edgeguard.evaluate.engine.executors import Executor, LocalProcesses
from edgeguard.evaluate.engine.store import Store
from edgeguard.evaluate.guard_rows import unmeasured, with_guard
from edgeguard.evaluate.pace import Pace
from edgeguard.evaluate.protocol import AttackPlan, Protocol, load_protocol
from edgeguard.evaluate.rebuild.network import CannotRebuild
from edgeguard.evaluate.reports.folder import EVALUATION, claim
from edgeguard.evaluate.reports.masking import masking_warnings
from edgeguard.evaluate.reports.plausible import implausible
from edgeguard.evaluate.reports.report import Findings, html_report
from edgeguard.evaluate.reports.results import Cell, write_results
from edgeguard.evaluate.twin import agreement, twin
from edgeguard.model import Model, load_model
from edgeguard.model.contract import require_classifier
from edgeguard.statistics import paired_proportions
from edgeguard.system.files import sha256_file, write_bytes
from edgeguard.system.leftovers import clear_partials
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)

_AGREEMENT_IMAGES = 100
_WORST_AGREEMENT = 0.95
_NO_LIMIT = 255
#: Attacks that look for wrong classes by themselves, or are another package's: two logits are not enough for them.
_AIM_THEMSELVES = ("autoattack", "art", "hop-skip-jump")
#: What Square and HopSkipJump need to say anything: by kind, the parameters beside the budget.
_QUERIES: dict[str, dict[str, int]] = {
    "square": {"queries": 5000},
    "hop-skip-jump": {"steps": 14, "queries": 10_000},
}


@into_folder("output", EVALUATION)
def evaluate(
    model: str | os.PathLike[str],
    images: str | os.PathLike[str],
    protocol: str | Protocol,
    output: str | os.PathLike[str],
    *,
    limit: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    surrogate: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    target: str | None = None,
    guard: str | None = None,
    progress: Progress = lambda what, done, total: None,
    left: Callable[[float], None] = lambda seconds: None,
) -> list[Cell]:
    """Run a protocol against a deployed classifier or detector; resumable, each batch of adversarial images is kept.

    Args:
        model: the .tflite; its contract's guard is what `contract` means in protocols.
        images: a folder with labels.csv (class index without a background class) or class folders; for a detector
            one with boxes (see `datasets.objects`).
        protocol: a name, a .toml file, or a `Protocol`.
        output: folder for `results.jsonl`, `report.html` and the adversarial images.
        limit, seed: replace the protocol's number of images and its seed.
        workers: processes on this machine.
        ray_address: run on this Ray cluster instead.
        surrogate: another .tflite of the same classes, which transfer attacks are made on instead of the model itself.
        target: a label that the attacks aim at, instead of any wrong one.
        guard: a preset or a profile's .toml, which stands in the place of the model's own.
        minutes: time that it may take; as many images as fit are attacked. Replaces the protocol's.
        progress: called with what is being done, units done and units in all.
        left: called with the seconds that everything will take from then on, after each cell.

    Returns:
        The cells of results.jsonl.

    Raises:
        InputError: something given cannot be used.
        DeviceError: the disk is full, a worker was killed, the cluster does not answer.

    Example:
        >>> evaluate("model.tflite", "photos/", "guard-audit", "audit/")   # doctest: +SKIP
    """
    began = time.monotonic()
    model, output = Path(model), Path(output)
    plan = load_protocol(protocol) if isinstance(protocol, str) else protocol
    plan = replace(
        plan,
        images=limit or plan.images,
        seed=plan.seed if seed is None else seed,
        minutes=plan.minutes if minutes is None else minutes,
    )
    deployed = _deployed(model, plan, surrogate)
    plan = plan if guard is None else with_guard(plan, guard, deployed.contract)
    if "detect" in (plan.task, deployed.contract.task):
        if minutes is not None or ray_address is not None:
            raise InputError("--minutes and --ray are for classifiers; --limit attacks fewer pictures of a detector")
        return audit_detector(AuditRequest(model, Path(images), plan, output, target, workers), deployed, progress)
    require_classifier(deployed.contract, f"{model}: evaluate")
    plan = plan if target is None else _aimed(plan, deployed, target)
    contract = deployed.contract
    doubts = _said_first(plan, deployed)
    folder = labeled_folder(Path(images), Classes.of(contract.labels, deployed.classes, contract.background))
    _log.info("%s", folder.mapping.line)
    labeled = readable(folder.images, images, progress=partial(progress, "opening images"))
    claim(output, _facts(plan, deployed, labeled, surrogate))
    store = Store(output / "adversarial")
    for name in ("results.jsonl", "report.html"):
        clear_partials(output / name)
    executor = _executor(workers, ray_address)
    cells: list[Cell] = []
    try:
        plan, followed = _possible(plan, model, labeled)

        def evaluation_of(plan: Protocol, chosen: list[LabeledImage]) -> Evaluation:
            return Evaluation(
                model, chosen, plan, store=store, executor=executor, progress=progress,
                surrogate=None if surrogate is None else Path(surrogate),
            )  # fmt: skip

        evaluation = evaluation_of(plan, labeled)
        pace = Pace.of(plan, evaluation, executor, began)
        if plan.minutes is not None:
            plan, labeled = pace.fitting(labeled)
            evaluation = evaluation_of(plan, labeled)
            doubts.append(pace.said)
        _log.info("%s", pace.said)
        for cell in evaluation.run():
            cells.append(cell)
            write_results(output / "results.jsonl", cells)
            left(pace.left(cell))
            for line in (_doubt(cell, deployed), _cost(cell, evaluation)):
                if line is not None:
                    _log.warning("%s", line)
                    doubts.append(line)
            if (late := pace.late(cell)) is not None:
                _log.warning("%s", late)
                doubts.append(late)
                break
    finally:
        executor.close()
    warnings = masking_warnings(cells)
    for line in warnings:
        _log.warning("POSSIBLE GRADIENT MASKING: %s", line)
    findings = Findings(
        subject=f"{model.name}, SHA-256 {deployed.sha256}",
        twin=followed,
        classes=folder.mapping.line.capitalize(),
        doubts=tuple(doubts),
        warnings=tuple(warnings),
        examples=evaluation.examples(),
        certified=evaluation.certified_shares(),
    )
    write_bytes(output / "report.html", html_report(plan, cells, findings).encode())
    return cells


def _deployed(model: Path, plan: Protocol, surrogate: object) -> Model:
    if surrogate is not None and not any(one.transfer for one in plan.attacks):
        raise InputError(f"--surrogate is for attacks with transfer = true; the protocol {plan.name} has none")
    if model.suffix != ".tflite":
        raise InputError(
            f"{model}: evaluate attacks the .tflite that is deployed; edgeguard convert makes one "
            "(--precision float32 keeps a float model as it is)"
        )
    check_installed(attack(one.kind, one.parameters) for one in plan.attacks)
    return load_model(model)


def _said_first(plan: Protocol, deployed: Model) -> list[str]:
    """What of the file's own defense no row tells: said at once, and for the report what belongs there."""
    if deployed.patch_guard is not None:
        _log.warning(
            "the contract's patch guard %s is left out here: it is for patches in the scene (edgeguard fieldtest)",
            deployed.patch_guard.name,
        )
    bare = unmeasured(plan, deployed.contract)
    if bare is None:
        return []
    _log.warning("%s", bare)
    return [bare]


def _aimed(plan: Protocol, deployed: Model, label: str) -> Protocol:
    """The protocol with every attack aimed at one label; those whose package aims by itself are left out.

    Raises:
        InputError: the model has no such label, or nothing is left.
    """
    labels = deployed.contract.labels
    if label in labels:
        index = labels.index(label)
    elif label.isdecimal() and int(label) < deployed.classes:
        index = int(label)
    else:
        near = [name for name in labels if label.lower() in name.lower()][:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"the model has no label {label!r}{hint}")
    kept = tuple(replace(one, target=index) for one in plan.attacks if one.kind not in _AIM_THEMSELVES)
    left = [one.name for one in plan.attacks if one.kind in _AIM_THEMSELVES]
    if left:
        _log.info("left out with --target: %s (they need more than two classes)", ", ".join(dict.fromkeys(left)))
    if not kept:
        raise InputError(f"the protocol {plan.name} has no attack that can be aimed at a label")
    return replace(plan, attacks=kept)


def _cost(cell: Cell, evaluation: Evaluation) -> str | None:
    """What a defense costs on clean images, once it and the undefended model are known: image by image."""
    bare, right = evaluation.clean_right.get("none"), evaluation.clean_right.get(cell.defence)
    if cell.attack != "clean" or cell.defence == "none" or bare is None or right is None:
        return None
    n = min(len(bare), len(right))
    lost, gained = int((bare[:n] & ~right[:n]).sum()), int((right[:n] & ~bare[:n]).sum())
    change, low, high = (100 * share for share in paired_proportions(lost, gained, n))
    points = f"gains {change:.1f} points" if gained > lost else f"costs {0 - change:.1f} points"
    low, high = (low, high) if gained > lost else (-high, -low)
    return (
        f"{cell.defence} {points} of clean accuracy [{low:.1f}, {high:.1f}] (95 %, paired), n = {n}: "
        f"{100 * bare[:n].mean():.1f} % without, {100 * right[:n].mean():.1f} % with"
    )


def _facts(plan: Protocol, deployed: Model, images: list[LabeledImage], surrogate: object) -> dict[str, Any]:
    """What the results of a folder come from; see `folder.claim`."""
    decides = {**asdict(plan), "images": 0, "minutes": None, "paper": {}, "paper_source": "", "batch": 0}
    if not plan.fidelity:
        del decides["fidelity"]  # folders from before the key go on
    del decides["task"]  # of classifiers: what came later leaves the names of older folders as they are
    later = ("goal", "target")
    decides["attacks"] = [
        {k: v for k, v in one.items() if k not in later or v is not None} for one in decides["attacks"]
    ]
    labels = "".join(f"{image.sha256}{image.label}" for image in images)
    return {
        "protocol": plan.name,
        "model": deployed.sha256,
        "seed": plan.seed,
        "photographs": hashlib.sha256(labels.encode()).hexdigest(),
        "surrogate": None if surrogate is None else sha256_file(Path(str(surrogate))),
        "attacks and defences": hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest(),
        "images": plan.images,
    }


def _doubt(cell: Cell, deployed: Model) -> str | None:
    if cell.attack != "clean":
        return None
    has_guard = deployed.contract.guard.profile is not None
    is_deployed = cell.defence == ("contract" if has_guard else "none") and cell.passes < 2
    return implausible(cell, deployed.contract.gates, deployed.classes, is_deployed=is_deployed)


def asking_attacks(eps_8bit: int) -> tuple[AttackPlan, ...]:
    """Attacks that ask the deployed file alone, with as many queries as they need: for a model that has no twin."""
    return tuple(AttackPlan(kind, kind, {**needed, "eps_8bit": eps_8bit}) for kind, needed in _QUERIES.items())


def _without_gradients(plan: Protocol) -> Protocol:
    """The protocol with gradient-free attacks alone, at each of its budgets and with as many queries as they need."""
    budgets = sorted({a.eps_8bit for a in plan.attacks if a.eps_8bit is not None and a.eps_8bit < _NO_LIMIT})
    kept = [a for a in plan.attacks if a.gradient_free]
    for eps in budgets:
        for kind, parameters in _QUERIES.items():
            given = [a for a in kept if a.kind == kind and a.eps_8bit == eps]
            most = max((int(a.parameters.get("queries", 0)) for a in given), default=0)
            if most < parameters["queries"]:
                kept = [a for a in kept if a not in given]
                kept.append(AttackPlan(kind, kind, {**parameters, "eps_8bit": int(eps)}))
    return replace(plan, attacks=tuple(kept))


def _possible(plan: Protocol, model: Path, images: list[LabeledImage]) -> tuple[Protocol, str]:
    """The protocol with the attacks that this model allows, and how well its twin follows it."""
    if not plan.attacks:
        return plan, "No attack, no twin."
    try:
        rebuilt = twin(model)
    except CannotRebuild as error:
        if not any(one.gradient_free for one in plan.attacks):
            raise InputError(f"{model}: {error}, and the protocol {plan.name} has none") from error
        left = _without_gradients(plan)
        _log.warning("%s; left out: %s", error, ", ".join(a.name for a in plan.attacks if not a.gradient_free))
        _log.warning("what is left asks the file alone: NO ROW HERE IS A WORST CASE")
        return left, f"No twin: {error}. Gradient-free attacks only, with more queries and at every budget."
    contents = [image.content() for image in images[:_AGREEMENT_IMAGES]]
    frames = [decode_whole(content) for content in contents if isinstance(content, bytes)]
    found = agreement(rebuilt, load_model(model), frames)
    ties = f", {found.tied} more are ties of its scores" if found.tied else ""
    followed = (
        f"the twin agrees with the file on {found.agreeing} of {found.n} images{ties} "
        f"(largest difference of an output {found.largest_difference:.2g})"
    )
    if found.agreeing + found.tied < _WORST_AGREEMENT * found.n:
        followed += "; ATTACKS THROUGH SUCH A TWIN ARE WEAKER THAN THEY COULD BE: read the gradient-free cells"
    _log.info("%s", followed)
    return plan, f"{followed[0].upper()}{followed[1:]}."


def _executor(workers: int | None, ray_address: str | None) -> Executor:
    if ray_address is None:
        return LocalProcesses(workers)
    from edgeguard.evaluate.engine.cluster import RayCluster

    return RayCluster(ray_address)
