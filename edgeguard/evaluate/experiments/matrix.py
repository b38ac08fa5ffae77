"""The matrix of Das et al. 2017: models by the codec that they were trained with, against the codec at test time.

Three kinds of rows, of rising honesty:

    clean       no attack
    gray        FGSM and DeepFool on the model without any codec, shown through each test codec: an attacker who does
                not know the defense. For every model but the first they are also made on the first one (`fgsm of
                NAME`), as Das et al. did: an attacker who does not know the training either
    white       attacks that know the codec, each on what the ones before it left: the worst case for each image
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluate.attacks.bounds import whole_budget
from edgeguard.evaluate.engine.executors import LocalProcesses, local_executor
from edgeguard.evaluate.engine.resume import finished
from edgeguard.evaluate.engine.trained_target import TrainedTarget
from edgeguard.evaluate.experiments.matrix_forecast import seconds_ahead
from edgeguard.evaluate.experiments.matrix_jobs import (
    WHITE,
    AttackCosts,
    MatrixJob,
    MatrixTask,
    Part,
    PartStore,
    is_part_of,
    run_matrix_job,
)
from edgeguard.evaluate.forecast import duration
from edgeguard.evaluate.reports.folder import EVALUATION, claim
from edgeguard.evaluate.reports.results import Cell, write_results
from edgeguard.system.outputs import into_folder
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.config import TrainConfig
from edgeguard.train.data import Part as Images
from edgeguard.train.restore import Restored, balanced_test_part

__all__ = ["WHITE", "Matrix", "MatrixPlan", "Progress", "matched_codec", "matrix"]

_log = logging.getLogger(__name__)

#: (what is being done, batches done, batches in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MatrixPlan:
    """What is measured.

    Attributes:
        codecs: at test time, as `TrainConfig.codec` (fixed ones).
        gray_eps_8bit: budgets of FGSM on the undefended model.
        white_eps_8bit: budgets of the adaptive attacks.
        images: of the test part, classes balanced.
        steps: of PGD; APGD takes 100.
        queries: of Square.
        batch: images of a job.
        seed: of everything random.
        adaptive_only: leave out the gray rows; each model at its own codec only, where `white_codecs` names no others.
        white_codecs: of the adaptive rows, fixed ones; where empty, none and the model's own.
    """

    codecs: tuple[str, ...] = ("none", "jpeg:75", "jpeg:50", "jpeg:20", "fd")
    gray_eps_8bit: tuple[float, ...] = (2, 4, 8)
    white_eps_8bit: tuple[float, ...] = (8,)
    images: int = 1000
    steps: int = 40
    queries: int = 5000
    batch: int = 250
    seed: int = 0
    adaptive_only: bool = False
    white_codecs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """What was measured, and what the images are."""

    cells: tuple[Cell, ...]
    source: str


@into_folder("folder", EVALUATION)
def matrix(
    runs: Sequence[Restored],
    data: str,
    plan: MatrixPlan,
    folder: Path,
    progress: Progress = lambda what, done, total: None,
    workers: int | None = None,
) -> Matrix:
    """Measure, or go on with a measurement that was interrupted (finished batches are kept in `folder`).

    Args:
        runs: trained models, all of the same classes and size.
        data: the folder or .zip whose test part is used.
        plan: what is measured.
        folder: gets cells/ and results.jsonl. A cell's `protocol` is `matrix:` and the run's name.
        progress: called with what is next, batches done, batches in all.
        workers: processes; one for each core by default.

    Raises:
        InputError: the runs do not fit the data or each other; a test codec that is none, or drawn for each image.
        DeviceError: the folder cannot be written, or a worker was killed; run again to go on.
    """
    _check_plan(runs, plan)
    part, source = _test_part(runs, data, plan)
    tasks = [task for run in runs for task in _tasks(run, runs[0], plan)]
    jobs = _jobs(runs, tasks, plan, part)
    titles = [f"{job.task.run}, {job.task.title}, {job.task.codec}" for job in jobs]

    def show(done: int, total: int) -> None:
        progress(titles[min(done, total - 1)], done, total)

    claim(folder, _facts(runs, plan, jobs[0].images))
    kept, executor = PartStore(folder / "cells"), local_executor(workers)
    cores = executor.workers if isinstance(executor, LocalProcesses) else 1
    missing = [job for job in jobs if (part_kept := kept.load(job.key)) is None or not is_part_of(job, part_kept)]
    ahead = duration(seconds_ahead(missing, cores))
    _log.info(
        "forecast: at most about %s on %d core%s (%d of %d batches are to be done); --limit takes fewer images",
        ahead, cores, "" if cores == 1 else "s", len(missing), len(jobs),
    )  # fmt: skip
    try:
        found = finished(jobs, run_matrix_job, kept=kept, executor=executor, progress=show, fits=is_part_of)
    finally:
        executor.close()
    each = len(jobs) // len(tasks)
    cells = [_cell(task, found[i * each : (i + 1) * each], jobs[0].images, len(part)) for i, task in enumerate(tasks)]
    write_results(folder / "results.jsonl", cells)
    return Matrix(tuple(cells), source)


def _facts(runs: Sequence[Restored], plan: MatrixPlan, images: str) -> dict[str, object]:
    decides = json.dumps({**asdict(plan), "images": 0, "batch": 0}, sort_keys=True)
    return {
        "protocol": f"matrix:{runs[0].name}",
        "models": [run.sha256 for run in runs],
        "seed": plan.seed,
        "photographs": images,
        "plan": hashlib.sha256(decides.encode()).hexdigest(),
    }


def matched_codec(config: TrainConfig) -> str:
    """The fixed codec that stands for a training's own: itself, or JPEG 50 for one that is drawn."""
    codec = TrainingCodec(config.codec, config.codec_share)
    return "jpeg:50" if codec.is_drawn else config.codec


def _check_plan(runs: Sequence[Restored], plan: MatrixPlan) -> None:
    for eps in (*plan.gray_eps_8bit, *plan.white_eps_8bit):
        whole_budget(eps, "--eps")
    for codec in (*plan.codecs, *plan.white_codecs):
        if TrainingCodec(codec).is_drawn:
            raise InputError(f"--codec {codec} is drawn for each image: at test time a fixed one is wanted")
    if len({run.name for run in runs}) != len(runs):
        raise InputError("two runs have the same folder name: rename one")


def _test_part(runs: Sequence[Restored], data: str, plan: MatrixPlan) -> tuple[Images, str]:
    """The images, and what they are in words."""
    part, labels, source = balanced_test_part(runs[0].config, data, plan.images)
    for run in runs:
        if run.labels != labels or run.config.size != runs[0].config.size:
            raise InputError(f"{run.name} was trained on other classes or another size")
    return part, source


def _tasks(run: Restored, first: Restored, plan: MatrixPlan) -> list[MatrixTask]:
    own = matched_codec(run.config)
    known = plan.white_codecs or tuple(dict.fromkeys((own,) if plan.adaptive_only else ("none", own)))
    white = [MatrixTask(run.name, c, WHITE, eps, True) for eps in plan.white_eps_8bit for c in known]
    if plan.adaptive_only:
        return [MatrixTask(run.name, c, "clean") for c in known] + white
    tasks = [MatrixTask(run.name, c, "clean") for c in plan.codecs]
    for maker in dict.fromkeys((run.name, first.name)):
        for eps in plan.gray_eps_8bit:
            tasks += [MatrixTask(run.name, c, "fgsm", eps, maker=maker) for c in plan.codecs]
        tasks += [MatrixTask(run.name, c, "deepfool", maker=maker) for c in plan.codecs]
    return tasks + white


def _jobs(runs: Sequence[Restored], tasks: Sequence[MatrixTask], plan: MatrixPlan, part: Images) -> list[MatrixJob]:
    """Each task's batches, task by task."""
    pixels = part.pixels(np.arange(len(part)), runs[0].config.size)
    images = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    targets = {run.name: TrainedTarget(run.name, run.network, run.sha256) for run in runs}
    costs = AttackCosts(steps=plan.steps, queries=plan.queries, seed=plan.seed, batch=plan.batch)
    return [
        MatrixJob(
            target=targets[task.run], maker=targets[task.maker or task.run], task=task, costs=costs, start=start,
            pixels=pixels[start : start + plan.batch], labels=part.targets[start : start + plan.batch], images=images,
        )
        for task in tasks
        for start in range(0, len(part), plan.batch)
    ]  # fmt: skip


def _cell(task: MatrixTask, parts: Sequence[Part], images: str, n: int) -> Cell:
    correct = tuple(number for part in parts for number in part.correct)
    l2 = [value for part in parts for value in part.l2]
    note: dict[str, int] = {}
    for part in parts:
        for name, count in part.note.items():
            note[name] = note.get(name, 0) + count
    return Cell(
        protocol=f"matrix:{task.run}",
        box="white" if task.white else "gray",
        threat="input",
        place="frame",
        attack=task.title,
        eps_8bit=task.eps_8bit,
        defence=task.codec,
        passes=0 if task.codec == "none" else 1,
        n=n,
        correct=len(correct),
        images=images,
        note=", ".join(f"{name} took {count}" for name, count in note.items()),
        mean_l2=float(np.mean(l2)) if l2 and task.attack != "clean" else None,
        correct_images=correct,
    )
