"""One evaluation from files to files: the entry point of the command line and of scripts."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from edgeguard.datasets.images import LabeledImage, read_labeled_folder
from edgeguard.errors import InputError
from edgeguard.evaluate.engine.evaluation import Evaluation, Progress
from edgeguard.evaluate.engine.executors import Executor, LocalProcesses
from edgeguard.evaluate.engine.store import Store
from edgeguard.evaluate.protocol import Protocol, load_protocol
from edgeguard.evaluate.rebuild.network import CannotRebuild
from edgeguard.evaluate.reports.masking import masking_warnings
from edgeguard.evaluate.reports.report import Findings, html_report
from edgeguard.evaluate.reports.results import Cell, write_results
from edgeguard.evaluate.twin import agreement, twin
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import load_model
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_partials

_log = logging.getLogger(__name__)

_AGREEMENT_IMAGES = 100
_WORST_AGREEMENT = 0.95


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
    progress: Progress = lambda what, done, total: None,
) -> list[Cell]:
    """Run a protocol against a deployed classifier; resumable, each batch of adversarial images is kept.

    Args:
        model: the .tflite; its contract's guard is what `contract` means in protocols.
        images: a folder with labels.csv (class index without a background class) or class folders.
        protocol: a name, a .toml file, or a `Protocol`.
        output: folder for `results.jsonl`, `report.html` and the adversarial images.
        limit, seed: replace the protocol's number of images and its seed.
        workers: processes on this machine.
        ray_address: run on this Ray cluster instead.
        surrogate: another .tflite of the same classes, which transfer attacks are made on instead of the model itself.
        progress: called with what is being done, units done and units in all.

    Returns:
        The cells of results.jsonl.

    Raises:
        InputError: something given cannot be used.
        DeviceError: the disk is full, a worker was killed, the cluster does not answer.

    Example:
        >>> evaluate("model.tflite", "photos/", "guard-audit", "audit/")   # doctest: +SKIP
    """
    model, output = Path(model), Path(output)
    plan = load_protocol(protocol) if isinstance(protocol, str) else protocol
    plan = replace(plan, images=limit or plan.images, seed=plan.seed if seed is None else seed)
    if surrogate is not None and not any(attack.transfer for attack in plan.attacks):
        raise InputError(f"--surrogate is for attacks with transfer = true; the protocol {plan.name} has none")
    if model.suffix != ".tflite":
        raise InputError(
            f"{model}: evaluate attacks the .tflite that is deployed; edgeguard convert makes one "
            "(--precision float32 keeps a float model as it is)"
        )
    deployed = load_model(model)
    if deployed.patch_guard is not None:
        _log.warning(
            "the contract's patch guard %s is left out here: it is for patches in the scene (edgeguard fieldtest)",
            deployed.patch_guard.name,
        )
    labeled = read_labeled_folder(Path(images), deployed.contract.labels)
    store = Store(output / "adversarial")
    for name in ("results.jsonl", "report.html"):
        clear_partials(output / name)
    executor = _executor(workers, ray_address)
    cells: list[Cell] = []
    try:
        plan, followed = _possible(plan, model, labeled)
        evaluation = Evaluation(
            model, labeled, plan, store=store, executor=executor, progress=progress,
            surrogate=None if surrogate is None else Path(surrogate),
        )  # fmt: skip
        for cell in evaluation.run():
            cells.append(cell)
            write_results(output / "results.jsonl", cells)
    finally:
        executor.close()
    warnings = masking_warnings(cells)
    for line in warnings:
        _log.warning("POSSIBLE GRADIENT MASKING: %s", line)
    findings = Findings(
        subject=f"{model.name}, SHA-256 {deployed.sha256}",
        twin=followed,
        warnings=tuple(warnings),
        examples=evaluation.examples(),
        certified=evaluation.certified_shares(),
    )
    write_bytes(output / "report.html", html_report(plan, cells, findings).encode())
    return cells


def _possible(plan: Protocol, model: Path, images: list[LabeledImage]) -> tuple[Protocol, str]:
    """The protocol with the attacks that this model allows, and how well its twin follows it."""
    try:
        rebuilt = twin(model)
    except CannotRebuild as error:
        left = tuple(attack for attack in plan.attacks if attack.gradient_free)
        if not left:
            raise InputError(f"{model}: {error}, and the protocol {plan.name} has none") from error
        _log.warning("%s; left out: %s", error, ", ".join(a.name for a in plan.attacks if not a.gradient_free))
        return replace(plan, attacks=left), f"No twin: {error}."
    contents = [image.content() for image in images[:_AGREEMENT_IMAGES]]
    frames = [decode_rgb(content) for content in contents if isinstance(content, bytes)]
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
