"""Certified accuracy under one patch anywhere: PatchCleanser's double masking around a deployed classifier."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError
from edgeguard.evaluate.engine.executors import LocalProcesses
from edgeguard.evaluate.engine.targets import Target
from edgeguard.model import load_model
from edgeguard.model.contract import require_classifier, require_pixels
from edgeguard.patchguard.double_masking import DoubleMasking, MaskSet
from edgeguard.statistics import wilson


@dataclass(frozen=True)
class CertifiedAccuracy:
    """What double masking gives on labelled photographs.

    Attributes:
        n: photographs.
        undefended, defended: right without a patch, without and with the defence.
        certified: right under every patch of the size, at every place, proven.
        queries, ms: medians for one answer: inferences, and milliseconds on one core.
        patch_px, mask_px, masks: the geometry at the model's input.
    """

    n: int
    undefended: int
    defended: int
    certified: int
    queries: float
    ms: float
    patch_px: int
    mask_px: int
    masks: int

    def lines(self) -> list[str]:
        """For the terminal."""

        def share(count: int) -> str:
            low, high = wilson(count, self.n)
            return f"{100 * count / self.n:.1f} [{100 * low:.0f}, {100 * high:.0f}] %, n {self.n}"

        return [
            f"patch       up to {self.patch_px} pixels square, anywhere; {self.masks} masks of {self.mask_px}",
            f"undefended  {share(self.undefended)}",
            f"defended    {share(self.defended)}",
            f"certified   {share(self.certified)}: proven for one square patch of that size, whatever is on it",
            f"cost        {self.queries:g} inferences, {self.ms:.0f} ms an image (medians, one core); undefended 1",
        ]


@dataclass(frozen=True)
class CertifyJob:
    """Double masking of one photograph.

    Attributes:
        target: the deployed file, at its input.
        masks: their geometry.
        path: of the photograph.
        label: its right output index.
    """

    target: Target
    masks: MaskSet
    path: str
    label: int


def certified_accuracy(
    model: Path,
    images: Path,
    *,
    patch_share: float = 0.02,
    per_axis: int = 6,
    limit: int = 200,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> CertifiedAccuracy:
    """Certify photographs; the first `limit` of a fixed order.

    Args:
        model: a .tflite classifier with a square input; its own guard is not applied.
        images: labelled photographs.
        patch_share: area of the patch, share of the input, 0..1.
        per_axis: masks along each axis.
        limit: photographs at most.
        workers: processes; one for each core by default.
        progress: called with what is being done, photographs done and photographs in all.

    Raises:
        InputError: no such model or images, or an input that is not square.
        DeviceError: a worker was killed.
    """
    deployed = load_model(model)
    contract = deployed.contract
    require_classifier(deployed.contract, f"{model}: double masking")
    if contract.input.width != contract.input.height:
        raise InputError(f"{model}: double masking wants a square input")
    require_pixels(contract, "double masking")
    masks = MaskSet(contract.input.width, max(round(patch_share**0.5 * contract.input.width), 1), per_axis)
    known = read_labeled_folder(images, contract.labels, outputs=deployed.classes, background=contract.background)
    order = np.random.default_rng(0).permutation(len(known))[:limit]
    chosen = readable([known[k] for k in order], images)
    target = Target(str(model), "input")
    jobs = [
        CertifyJob(target, masks, str(image.data), int(image.label or 0) + int(contract.background))
        for image in chosen
    ]  # fmt: skip
    found, executor = [], LocalProcesses(workers)
    try:
        for _, one in executor.map(run_certify, jobs):
            found.append(one)
            progress("certifying", len(found), len(jobs))
    finally:
        executor.close()
    table = np.array(found)
    return CertifiedAccuracy(
        len(jobs), int(table[:, 0].sum()), int(table[:, 1].sum()), int(table[:, 2].sum()),
        float(np.median(table[:, 3])), float(np.median(table[:, 4])), masks.patch, masks.side, len(masks.places),
    )  # fmt: skip


def run_certify(job: CertifyJob) -> tuple[bool, bool, bool, int, float]:
    """Right without the defense, right with it, certified; inferences and milliseconds of the defended answer."""
    target, label = job.target, job.label
    image = target.read(job.path)
    defense = DoubleMasking(lambda masked: target.labels([masked])[0], job.masks)
    right = target.labels([image])[0] == label
    began = time.perf_counter()
    verdict = defense(image)
    ms = (time.perf_counter() - began) * 1e3
    return right, verdict.label == label, defense.is_certified(image, label), verdict.queries, ms
