"""The jobs of the matrix: one attack on one batch of one model behind one codec, and what it left right."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.surrogates import BACKWARDS, Backward
from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.attacks import Attack, is_wrong
from edgeguard.evaluate.attacks.dct_aware import DctPgd
from edgeguard.evaluate.attacks.deepfool import DeepFool
from edgeguard.evaluate.attacks.external import AutoAttack
from edgeguard.evaluate.attacks.gradient import Fgsm, Pgd
from edgeguard.evaluate.attacks.lattice import Lattice
from edgeguard.evaluate.engine.trained_target import TrainedTarget
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, of_type, read_bounded
from edgeguard.system.names import refuse_special

WHITE = "adaptive, worst case"


@dataclass(frozen=True)
class MatrixTask:
    """One cell of the matrix.

    Attributes:
        run: the model's name.
        codec: at test time.
        attack: `clean`, `fgsm`, `deepfool`, or `WHITE`.
        eps_8bit: budget in levels, where the attack has one.
        white: the attack knows the codec.
        maker: the name of the model that a gray attack is made on.
    """

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


@dataclass(frozen=True, kw_only=True)
class AttackCosts:
    """How hard the attacks try.

    Attributes:
        steps: of PGD; APGD takes 100.
        queries: of Square.
        seed: of everything random.
        batch: images of a job; attacks that stop early, and sums of floats, can depend on it.
    """

    steps: int
    queries: int
    seed: int
    batch: int


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixJob:
    """A task on one batch.

    Attributes:
        target: the model.
        maker: the model that a gray attack is made on.
        task: the cell that it is a part of.
        costs: of its attacks.
        start: the number of the first image.
        pixels: uint8 (n, h, w, 3).
        labels: int64 (n,), the right classes.
        images: a hash of all images of the cell.
    """

    target: TrainedTarget
    maker: TrainedTarget
    task: MatrixTask
    costs: AttackCosts
    start: int
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    images: str

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads: none, it carries everything."""
        return ()

    @property
    def key(self) -> str:
        """Names the result: a hash of everything that it depends on."""
        costs = self.costs
        told = [
            self.target.sha256, self.maker.sha256, self.images, asdict(self.task), costs.steps, costs.queries,
            costs.seed, costs.batch, self.start,
        ]  # fmt: skip
        if self.task.white and self.task.codec != "none":
            told += ["lattice", "differentiable-jpeg-ste"]  # results from before these attacks are made again
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Part:
    """What an attack left right of a batch.

    Attributes:
        correct: numbers of images.
        note: how many images each of the adaptive attacks took.
        l2: the distance of each image from the changed one, pixels 0..1; of gray attacks.
    """

    correct: tuple[int, ...]
    note: dict[str, int]
    l2: tuple[float, ...]


def is_part_of(job: MatrixJob, part: Part) -> bool:
    """Whether a part that somebody kept can be the job's: each image once, and of its own batch."""
    numbers = range(job.start, job.start + len(job.labels))
    return len(set(part.correct)) == len(part.correct) and all(one in numbers for one in part.correct)


_LARGEST = 16 << 20  # bytes of a part


@dataclass(frozen=True)
class PartStore:
    """A folder of finished parts within an output, a JSON file each; half-written or foreign files count for nothing.

    It is made with the first part.

    Raises:
        InputError: it is a link.
    """

    folder: Path

    def __post_init__(self) -> None:
        refuse_special(self.folder.parent, self.folder.name)

    def load(self, key: str) -> Part | None:
        """A part, or None where there is none that is whole."""
        try:
            return of_type(Part, foreign_json(read_bounded(self._path(key), _LARGEST, "the part")))
        except (InputError, ValueError, RecursionError):
            return None

    def save(self, key: str, result: Part) -> None:
        """Keep a part: written beside, renamed.

        Raises:
            DeviceError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeviceError(f"cannot write in {self.folder}: {error.strerror}") from error
        write_bytes(self._path(key), json.dumps(asdict(result)).encode())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def run_matrix_job(job: MatrixJob) -> Part:
    """Attack a batch, and count what stays right behind the codec."""
    levels, labels = to_levels(job.pixels), torch.from_numpy(job.labels)
    note, l2 = dict[str, int](), list[float]()
    if job.task.white:
        right = _worst_case(job, levels, labels, note)
    else:
        changed = _gray(job, levels, labels)
        right = ~is_wrong(job.target.victim(job.task.codec), changed, labels)
        l2 = ((changed - levels) / 255).flatten(1).norm(dim=1).tolist()
    return Part(tuple((job.start + right.nonzero()[:, 0]).tolist()), note, tuple(l2))


def _gray(job: MatrixJob, levels: Tensor, labels: Tensor) -> Tensor:
    """Images changed against the model without a codec."""
    attack = gray_attack(job.task)
    return levels if attack is None else attack(job.maker.victim("none"), levels, labels)


def gray_attack(task: MatrixTask) -> Attack | None:
    """The attack of a gray-box cell; None for clean images."""
    if task.attack == "clean":
        return None
    return DeepFool() if task.eps_8bit is None else Fgsm(eps_8bit=task.eps_8bit)


def _worst_case(job: MatrixJob, levels: Tensor, labels: Tensor, note: dict[str, int]) -> Tensor:
    """bool (n,): images that every attack leaves right; each attack gets what is left. `note` counts what each took."""
    left = torch.arange(len(levels))
    for name, attack, backward in adaptive_attacks(job.task, job.costs):
        if not len(left):
            break
        victim = job.target.victim(job.task.codec, backward)
        x, y = levels[left].contiguous(memory_format=torch.channels_last), labels[left]
        wrong = is_wrong(victim, x, y)
        if not wrong.all():
            changed = x.clone()
            changed[~wrong] = attack(victim, x[~wrong], y[~wrong], job.costs.seed)
            wrong |= is_wrong(victim, changed, y)
        note[name] = note.get(name, 0) + int(wrong.sum())
        left = left[~wrong]
    right = torch.zeros(len(levels), dtype=torch.bool)
    right[left] = True
    return right


def adaptive_attacks(task: MatrixTask, costs: AttackCosts) -> list[tuple[str, Attack, Backward]]:
    """Attacks from cheap to dear: PGD and APGD with each derivative of the codec (without a codec they are all the
    same), then the rest of AutoAttack with the straight-through one."""
    eps = task.eps_8bit
    assert eps is not None
    gradients: tuple[Backward, ...] = ("straight-through",) if task.codec == "none" else BACKWARDS
    pgd = Pgd(eps_8bit=eps, steps=costs.steps, early_stop=True)
    found: list[tuple[str, Attack, Backward]] = [(f"pgd {b}", pgd, b) for b in gradients]
    if task.codec != "none":
        found.append(("lattice", Lattice(eps_8bit=eps, steps=costs.steps), "straight-through"))
        found.append(("dct-pgd", DctPgd(eps_8bit=eps, steps=costs.steps, early_stop=True), "straight-through"))
    found += [(f"apgd-ce {b}", AutoAttack(eps_8bit=eps, parts=("apgd-ce",)), b) for b in gradients]
    for part in ("apgd-t", "fab-t", "square"):
        found.append((part, AutoAttack(eps_8bit=eps, parts=(part,), queries=costs.queries), "straight-through"))
    return found
