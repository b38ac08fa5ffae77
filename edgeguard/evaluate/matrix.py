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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import Attack, is_wrong
from edgeguard.evaluate.attacks.dct_aware import DctPgd
from edgeguard.evaluate.attacks.deepfool import DeepFool
from edgeguard.evaluate.attacks.gradient import Fgsm, Pgd
from edgeguard.evaluate.attacks.library import AutoAttack
from edgeguard.evaluate.results import Cell, write_results
from edgeguard.files import write_bytes
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.config import TrainConfig
from edgeguard.train.data import Part
from edgeguard.train.guard_layer import to_levels
from edgeguard.train.restore import Restored, balanced_test_part
from edgeguard.train.surrogates import BACKWARDS, Backward
from edgeguard.train.through import Through

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
    """

    codecs: tuple[str, ...] = ("none", "jpeg:75", "jpeg:50", "jpeg:20", "fd")
    gray_eps_8bit: tuple[float, ...] = (2, 4, 8)
    white_eps_8bit: tuple[float, ...] = (8,)
    images: int = 1000
    steps: int = 40
    queries: int = 5000
    batch: int = 250
    seed: int = 0


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


def matrix(
    runs: Sequence[Restored],
    data: str,
    plan: MatrixPlan,
    folder: Path,
    progress: Progress = lambda what, done, total: None,
) -> Matrix:
    """Measure, or go on with a measurement that was interrupted (finished cells are kept in `folder`).

    Args:
        runs: trained models, all of the same classes and size.
        data: the folder or .zip whose test part is used.
        plan: what is measured.
        folder: gets cells/ and results.jsonl. A cell's `protocol` is `matrix:` and the run's name.

    Raises:
        InputError: the runs do not fit the data or each other.
    """
    if len({run.name for run in runs}) != len(runs):
        raise InputError("two runs have the same folder name: rename one")
    part, labels, source = balanced_test_part(runs[0].config, data, plan.images)
    for run in runs:
        if run.labels != labels or run.config.size != runs[0].config.size:
            raise InputError(f"{run.name} was trained on other classes or another size")
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    images = hashlib.sha256(part.pixels(np.arange(len(part)), runs[0].config.size).tobytes()).hexdigest()[:16]
    by_name = {run.name: run for run in runs}
    tasks = [(run, task) for run in runs for task in _tasks(run, runs[0], plan)]
    cells = []
    for done, (run, task) in enumerate(tasks):
        progress(f"{task.run}, {task.title}, {task.codec}", done, len(tasks))
        maker = by_name[task.maker or task.run]
        path = folder / "cells" / f"{_key(run, maker, task, plan, images)}.json"
        cells.append(_kept(path) or _measured(run, maker, task, plan, part, images, path))
    write_results(folder / "results.jsonl", cells)
    return Matrix(tuple(cells), source)


def _tasks(run: Restored, first: Restored, plan: MatrixPlan) -> list[_Task]:
    tasks = [_Task(run.name, c, "clean") for c in plan.codecs]
    for maker in dict.fromkeys((run.name, first.name)):
        for eps in plan.gray_eps_8bit:
            tasks += [_Task(run.name, c, "fgsm", eps, maker=maker) for c in plan.codecs]
        tasks += [_Task(run.name, c, "deepfool", maker=maker) for c in plan.codecs]
    known = dict.fromkeys(("none", matched_codec(run.config)))
    return tasks + [_Task(run.name, c, WHITE, eps, True) for eps in plan.white_eps_8bit for c in known]


def matched_codec(config: TrainConfig) -> str:
    """The fixed codec that stands for a training's own: itself, or JPEG 50 for one that is drawn."""
    codec = TrainingCodec(config.codec, config.codec_share)
    return "jpeg:50" if codec.is_drawn else config.codec


def _measured(
    run: Restored, maker: Restored, task: _Task, plan: MatrixPlan, part: Part, images: str, path: Path
) -> Cell:
    correct, note, l2 = list[int](), dict[str, int](), list[float]()
    for start in range(0, len(part), plan.batch):
        rows = np.arange(start, min(start + plan.batch, len(part)))
        levels, labels = to_levels(part.pixels(rows, run.config.size)), torch.from_numpy(part.targets[rows])
        if task.white:
            right = _worst_case(run, task, plan, levels, labels, note)
        else:
            changed = _gray(maker, task, levels, labels)
            right = ~is_wrong(_victim(run, task.codec), changed, labels)
            l2 += ((changed - levels) / 255).flatten(1).norm(dim=1).tolist()
        correct += (start + right.nonzero()[:, 0]).tolist()
    cell = Cell(
        protocol=f"matrix:{task.run}",
        box="white" if task.white else "gray",
        threat="input",
        place="frame",
        attack=task.title,
        eps_8bit=task.eps_8bit,
        defence=task.codec,
        passes=0 if task.codec == "none" else 1,
        n=len(part),
        correct=len(correct),
        images=images,
        note=", ".join(f"{name} took {count}" for name, count in note.items()),
        mean_l2=float(np.mean(l2)) if l2 and task.attack != "clean" else None,
        correct_images=tuple(correct),
    )
    write_bytes(path, json.dumps(asdict(cell)).encode())
    return cell


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
    """Attacks from cheap to dear. Without a codec the derivatives are all the same."""
    eps = task.eps_8bit
    assert eps is not None
    backwards: tuple[Backward, ...] = ("straight-through",) if task.codec == "none" else BACKWARDS
    pgd = Pgd(eps_8bit=eps, steps=plan.steps, early_stop=True)
    found: list[tuple[str, Attack, Backward]] = [(f"pgd {b}", pgd, b) for b in backwards]
    if task.codec != "none":
        found.append(("dct-pgd", DctPgd(eps_8bit=eps, steps=plan.steps, early_stop=True), "straight-through"))
    for part in ("apgd-ce", "apgd-t"):
        found += [(f"{part} {b}", AutoAttack(eps, (part,)), b) for b in backwards]
    rest = [(part, AutoAttack(eps, (part,), queries=plan.queries)) for part in ("fab-t", "square")]
    return found + [(name, attack, "straight-through") for name, attack in rest]


def _key(run: Restored, maker: Restored, task: _Task, plan: MatrixPlan, images: str) -> str:
    told = [run.sha256, maker.sha256, images, asdict(task), plan.steps, plan.queries, plan.seed, plan.batch]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


def _kept(path: Path) -> Cell | None:
    """A finished cell; half-written or foreign files count for nothing."""
    try:
        data = json.loads(path.read_bytes())
        return Cell(**{**data, "correct_images": tuple(data["correct_images"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
