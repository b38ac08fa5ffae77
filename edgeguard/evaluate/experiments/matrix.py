"""The matrix of Das et al. 2017: models by the codec that they were trained with, against the codec at test time.

Three kinds of rows, of rising honesty:

    clean       no attack
    gray        FGSM and DeepFool on the model without any codec, made once, then shown through each test codec: an
                attacker who does not know the defence. For every model but the first they are also made on the first
                one (`fgsm of NAME`), as Das et al. did: an attacker who does not know the training either
    white       attacks that know the codec, each on what the ones before it left: the worst case for each image
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.surrogates import BACKWARDS, Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import Attack, is_wrong
from edgeguard.evaluate.attacks.dct_aware import DctPgd
from edgeguard.evaluate.attacks.deepfool import DeepFool
from edgeguard.evaluate.attacks.external import AutoAttack
from edgeguard.evaluate.attacks.gradient import Fgsm, Pgd
from edgeguard.evaluate.reports.results import Cell, write_results
from edgeguard.system.files import write_bytes
from edgeguard.system.workers import worker_pool
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import Through
from edgeguard.train.config import TrainConfig
from edgeguard.train.restore import Restored, balanced_test_part

WHITE = "adaptive, worst case"
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


@dataclass(frozen=True)
class _Task:
    """One cell: a run, a test codec, an attack. `white`: the attack knows the codec. `maker`: the run that a gray
    attack is made on."""

    run: str
    codec: str
    attack: str
    eps_8bit: float | None = None
    white: bool = False
    maker: str = ""

    @property
    def title(self) -> str:
        """The attack's name for tables."""
        return self.attack if self.maker in ("", self.run) else f"{self.attack} of {self.maker}"


@dataclass(frozen=True, eq=False)
class _Unit:
    """A batch of a task: what a worker gets."""

    run: Restored
    maker: Restored
    task: _Task
    plan: MatrixPlan
    start: int
    pixels: NDArray[np.uint8]
    targets: NDArray[np.int64]
    path: Path


@dataclass(frozen=True)
class _Part:
    """What an attack left right of a batch: numbers of images; what each adaptive attack took; distances."""

    correct: tuple[int, ...]
    note: dict[str, int]
    l2: tuple[float, ...]


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
        progress: called with what, batches done, batches in all.
        workers: processes; one for each core by default.

    Raises:
        InputError: the runs do not fit the data or each other; a test codec that is none, or drawn for each image.
    """
    for codec in (*plan.codecs, *plan.white_codecs):
        if TrainingCodec(codec).is_drawn:
            raise InputError(f"--codec {codec} is drawn for each image: at test time a fixed one is wanted")
    if len({run.name for run in runs}) != len(runs):
        raise InputError("two runs have the same folder name: rename one")
    part, labels, source = balanced_test_part(runs[0].config, data, plan.images)
    for run in runs:
        if run.labels != labels or run.config.size != runs[0].config.size:
            raise InputError(f"{run.name} was trained on other classes or another size")
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    pixels = part.pixels(np.arange(len(part)), runs[0].config.size)
    images = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    by_name = {run.name: run for run in runs}
    tasks = [task for run in runs for task in _tasks(run, runs[0], plan)]
    units = []
    for task in tasks:
        run, maker = by_name[task.run], by_name[task.maker or task.run]
        for start in range(0, len(part), plan.batch):
            rows = slice(start, start + plan.batch)
            path = folder / "cells" / f"{_key(run, maker, task, plan, images, start)}.json"
            units.append(_Unit(run, maker, task, plan, start, pixels[rows], part.targets[rows], path))
    found = list(_counted(units, workers, progress))
    each = -(-len(part) // plan.batch)
    cells = [_cell(task, found[i * each : (i + 1) * each], len(part), images) for i, task in enumerate(tasks)]
    write_results(folder / "results.jsonl", cells)
    return Matrix(tuple(cells), source)


def _counted(units: Sequence["_Unit"], workers: int | None, progress: Progress) -> Iterator["_Part"]:
    """What every unit found, in order: read where it is kept, else made, in processes if there are more than one."""
    kept = [_kept(unit.path) for unit in units]
    left = [unit for unit, part in zip(units, kept, strict=True) if part is None]
    count = min(workers or len(os.sched_getaffinity(0)), len(left))
    with worker_pool(count, _single_thread) if count > 1 else nullcontext() as pool:
        made = map(_attacked, left) if pool is None else pool.map(_attacked, left)
        for done, (unit, part) in enumerate(zip(units, kept, strict=True)):
            progress(f"{unit.task.run}, {unit.task.title}, {unit.task.codec}", done, len(units))
            yield next(made) if part is None else part


def _single_thread() -> None:
    torch.set_num_threads(1)


def _tasks(run: Restored, first: Restored, plan: MatrixPlan) -> list[_Task]:
    own = matched_codec(run.config)
    known = plan.white_codecs or tuple(dict.fromkeys((own,) if plan.adaptive_only else ("none", own)))
    white = [_Task(run.name, c, WHITE, eps, True) for eps in plan.white_eps_8bit for c in known]
    if plan.adaptive_only:
        return [_Task(run.name, c, "clean") for c in known] + white
    tasks = [_Task(run.name, c, "clean") for c in plan.codecs]
    for maker in dict.fromkeys((run.name, first.name)):
        for eps in plan.gray_eps_8bit:
            tasks += [_Task(run.name, c, "fgsm", eps, maker=maker) for c in plan.codecs]
        tasks += [_Task(run.name, c, "deepfool", maker=maker) for c in plan.codecs]
    return tasks + white


def matched_codec(config: TrainConfig) -> str:
    """The fixed codec that stands for a training's own: itself, or JPEG 50 for one that is drawn."""
    codec = TrainingCodec(config.codec, config.codec_share)
    return "jpeg:50" if codec.is_drawn else config.codec


def _attacked(unit: "_Unit") -> "_Part":
    """Attack a batch, and keep what was found."""
    run, task = unit.run, unit.task
    levels, labels = to_levels(unit.pixels), torch.from_numpy(unit.targets)
    note, l2 = dict[str, int](), list[float]()
    if task.white:
        right = _worst_case(run, task, unit.plan, levels, labels, note)
    else:
        changed = _gray(unit.maker, task, levels, labels)
        right = ~is_wrong(_victim(run, task.codec), changed, labels)
        l2 = ((changed - levels) / 255).flatten(1).norm(dim=1).tolist()
    part = _Part(tuple((unit.start + right.nonzero()[:, 0]).tolist()), note, tuple(l2))
    write_bytes(unit.path, json.dumps(asdict(part)).encode())
    return part


def _cell(task: _Task, parts: Sequence["_Part"], n: int, images: str) -> Cell:
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


def _victim(run: Restored, codec: str, backward: Backward = "straight-through") -> Through:
    return Through(run.network, TrainingCodec(codec), backward)


def _gray(maker: Restored, task: _Task, levels: Tensor, labels: Tensor) -> Tensor:
    """Images changed against the model without a codec."""
    if task.attack == "clean":
        return levels
    attack: Attack = DeepFool() if task.eps_8bit is None else Fgsm(eps_8bit=task.eps_8bit)
    return attack(_victim(maker, "none"), levels, labels)


def _worst_case(
    run: Restored, task: _Task, plan: MatrixPlan, levels: Tensor, labels: Tensor, note: dict[str, int]
) -> Tensor:
    """bool (n,): images that every attack leaves right; each attack gets what is left. `note` counts what each took."""
    assert task.eps_8bit is not None
    left = torch.arange(len(levels))
    for name, attack, backward in _chain(task, plan):
        if not len(left):
            break
        victim = _victim(run, task.codec, backward)
        x, y = levels[left].contiguous(memory_format=torch.channels_last), labels[left]
        wrong = is_wrong(victim, x, y)
        if not wrong.all():
            changed = x.clone()
            changed[~wrong] = attack(victim, x[~wrong], y[~wrong], plan.seed)
            wrong |= is_wrong(victim, changed, y)
        note[name] = note.get(name, 0) + int(wrong.sum())
        left = left[~wrong]
    right = torch.zeros(len(levels), dtype=torch.bool)
    right[left] = True
    return right


def _chain(task: _Task, plan: MatrixPlan) -> list[tuple[str, Attack, Backward]]:
    """Attacks from cheap to dear: PGD and APGD with each derivative of the codec (without a codec they are all the
    same), then the rest of AutoAttack with the straight-through one."""
    eps = task.eps_8bit
    assert eps is not None
    gradients: tuple[Backward, ...] = ("straight-through",) if task.codec == "none" else BACKWARDS
    pgd = Pgd(eps_8bit=eps, steps=plan.steps, early_stop=True)
    found: list[tuple[str, Attack, Backward]] = [(f"pgd {b}", pgd, b) for b in gradients]
    if task.codec != "none":
        found.append(("dct-pgd", DctPgd(eps_8bit=eps, steps=plan.steps, early_stop=True), "straight-through"))
    found += [(f"apgd-ce {b}", AutoAttack(eps_8bit=eps, parts=("apgd-ce",)), b) for b in gradients]
    rest = [
        (part, AutoAttack(eps_8bit=eps, parts=(part,), queries=plan.queries)) for part in ("apgd-t", "fab-t", "square")
    ]
    return found + [(name, attack, "straight-through") for name, attack in rest]


def _key(run: Restored, maker: Restored, task: _Task, plan: MatrixPlan, images: str, start: int) -> str:
    told = [run.sha256, maker.sha256, images, asdict(task), plan.steps, plan.queries, plan.seed, plan.batch, start]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


def _kept(path: Path) -> "_Part | None":
    """A finished batch; half-written or foreign files count for nothing."""
    try:
        data = json.loads(path.read_bytes())
        return _Part(tuple(data["correct"]), dict(data["note"]), tuple(data["l2"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
