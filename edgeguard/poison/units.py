"""The units of work of `poison evaluate`: poisons that are made, victims that are trained."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.poison.codecs import codec_files, coded
from edgeguard.poison.given import given_poison
from edgeguard.poison.kept import PoisonsKept
from edgeguard.poison.lock import held
from edgeguard.poison.make import Poison, poison_of, poisoned, trained
from edgeguard.poison.packed import unpack
from edgeguard.poison.patterns import logo, with_logo
from edgeguard.poison.plan import Arm, Plan
from edgeguard.system.foreign import LARGEST_SETTINGS, read_bounded
from edgeguard.system.located import located
from edgeguard.system.names import folder_inside
from edgeguard.train.checkpoint import NAME as CHECKPOINT
from edgeguard.train.codec_network import logits
from edgeguard.train.config import DataConfig, GradientMode, TrainConfig
from edgeguard.train.data import Dataset, read_dataset
from edgeguard.train.log import LOG

KEPT, WORK = "kept", "work"


@dataclass(frozen=True)
class Aim:
    """What one poison is for.

    Attributes:
        number: of the poison, from 0.
        target: the test image that is to be called `wished`; None for poisons without one.
        wished: a class; None for poisons that only keep a net from learning.
    """

    number: int
    target: str | None = None
    wished: str | None = None


@dataclass(frozen=True)
class Surrogate:
    """The attacker's network, that the poisons of one codec are made with.

    Attributes:
        plan: what is measured.
        folder: of the evaluation.
        codec, gradient: that the attacker expects in the training, and its derivative.
        packed: the file of the images (see `packed`), where the job may run on a machine that has no folder of them:
            all that it reads travels then, and it works in a temporary folder. None: on this machine.
    """

    plan: Plan
    folder: str
    codec: str
    gradient: GradientMode
    packed: str | None = None

    @property
    def work(self) -> Path:
        """The folder that it is trained in, of the evaluation."""
        drawn = [] if self.gradient == "straight-through" else [self.gradient]
        return Path(self.folder) / WORK / f"surrogate-{_hash([self.codec, *drawn, *_profiles(self.codec)])}"

    @property
    def training(self) -> TrainConfig:
        """How it is trained."""
        return replace(self.plan.training, codec=self.codec, backward=self.gradient)

    @property
    def made(self) -> tuple[Path, Path]:
        """The files that say all of it once it is trained."""
        return self.work / LOG, self.work / CHECKPOINT

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads, with `packed`."""
        return (str(self.packed), *codec_files(self.codec))


@dataclass(frozen=True)
class Brewing:
    """A poison that is to be made; `codec` is what its maker expects. The rest is as in `Surrogate`."""

    plan: Plan
    folder: str
    aim: Aim
    codec: str
    gradient: GradientMode
    packed: str | None = None

    @property
    def surrogate(self) -> Surrogate:
        """The attacker's network, where the method has one that is trained before (`has_surrogate`)."""
        return Surrogate(self.plan, self.folder, self.codec, self.gradient, self.packed)

    @property
    def has_surrogate(self) -> bool:
        """Whether a network is trained before the poison is made."""
        return self.plan.method == "gradient-matching"

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads, with `packed`."""
        made = self.surrogate.made if self.has_surrogate else ()
        return (*self.surrogate.files, *(str(path) for path in made))

    @property
    def key(self) -> str:
        """Names the poison."""
        return _hash([decides(self.plan), asdict(self.aim), self.codec, self.gradient, *_profiles(self.codec)])


@dataclass(frozen=True)
class Training:
    """A victim that is to be trained; `folder` and `packed` are as in `Surrogate`."""

    plan: Plan
    folder: str
    aim: Aim
    arm: Arm
    victim: int
    packed: str | None = None

    @property
    def brewing(self) -> Brewing | None:
        """The poison that it is fed; None for clean images."""
        if self.arm.is_clean:
            return None
        codec = (self.arm.codec or "none") if self.arm.gradient else "none"
        gradient = self.arm.gradient or "straight-through"
        return Brewing(self.plan, self.folder, self.aim, codec, gradient, self.packed)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads, with `packed`."""
        kept = PoisonsKept(Path(self.folder) / KEPT)
        poison = () if self.brewing is None else kept.paths(self.brewing.key)
        return (str(self.packed), *codec_files(self.arm.codec or "none"), *(str(path) for path in poison))

    @property
    def key(self) -> str:
        """Names the result."""
        profiles = _profiles(self.arm.codec or "none")
        return _hash([decides(self.plan), asdict(self.aim), asdict(self.arm), self.victim, *profiles])


@dataclass(frozen=True)
class Outcome:
    """What one training led to: a line of results.jsonl.

    Attributes:
        arm, victim, poison: which training.
        target, wished: what the poison was for.
        success, success_n: times that the target (or a picture with the logo) was called so, and tries.
        hits, n: right answers on the clean test images.
        matching_loss: of gradient matching.
        changed: poisoned training images.
    """

    arm: str
    victim: int
    poison: int
    target: str | None
    wished: str | None
    success: int
    success_n: int
    hits: int
    n: int
    matching_loss: float | None = None
    changed: int = 0


def train_surrogate(job: Surrogate) -> list[bytes]:
    """Train the attacker's network in a temporary folder.

    Returns:
        What its files hold, in the order of `made`.

    Raises:
        InputError: the data or the settings make no network.
    """
    with _temporary() as folder:
        trained(job.training, _images(job), folder / "surrogate", lambda what, done, total: None)
        return [(folder / "surrogate" / path.name).read_bytes() for path in job.made]


def brew(job: Brewing) -> Poison:
    """Make a poison.

    Raises:
        InputError: the data or the settings make none.
    """
    plan = job.plan
    if plan.method == "given":
        return given_poison(plan.training.part(DataConfig), size=plan.size, seed=plan.seed)
    config = plan.poison(
        target=job.aim.target, wished=job.aim.wished, codec=job.codec, gradient=job.gradient,
        seed=plan.seed + job.aim.number,
    )  # fmt: skip
    with _surrogate_folder(job) as folder:
        return poison_of(config, job.surrogate.training, _images(job), folder)


def train(job: Training) -> dict[str, Any]:
    """Train a victim, and try what the poison is for: an `Outcome`, as plain data.

    Raises:
        InputError: the data or the settings make no network, or the poison's file is damaged.
    """
    plan, arm = job.plan, job.arm
    dataset = _images(job)
    test = dataset.test.pixels(np.arange(len(dataset.test)), plan.size)
    facts: dict[str, Any] = {}
    changed = 0
    if (brewing := job.brewing) is not None:
        kept = PoisonsKept(Path(job.folder) / KEPT)
        poison = kept.load(brewing.key, np.asarray(dataset.train.images), len(dataset.labels))
        changed, facts = len(poison.rows), poison.facts
        dataset = poisoned(dataset, poison)
    if arm.codec is not None:
        images = coded(np.asarray(dataset.train.images), arm.codec, plan.seed)
        dataset = replace(dataset, train=replace(dataset.train, images=images))
    seen = coded(test, arm.codec, plan.seed) if arm.at_test and arm.codec is not None else test
    dataset = replace(dataset, test=replace(dataset.test, images=seen))
    training = replace(plan.training, seed=plan.seed + 1000 * (job.victim + 1), mixup=1.0 if arm.kind == "mixup" else 0)
    with _victim_folder(job) as folder:
        module = trained(training, dataset, folder, lambda what, done, total: None)
        hits = int((_answers(module, seen) == dataset.test.targets).sum())
        success, tries = _success(job, dataset, test, module)
    return asdict(Outcome(
        arm.name, job.victim, job.aim.number, job.aim.target, job.aim.wished, success, tries, hits, len(test),
        facts.get("matching_loss"), changed,
    ))  # fmt: skip


@contextmanager
def _surrogate_folder(job: Brewing) -> Iterator[Path]:
    """The folder of the attacker's network: the first of the poisons here trains it, the others wait and find it."""
    surrogate = job.surrogate
    if job.packed is None:
        with held(surrogate.work.with_suffix(".lock")):
            yield surrogate.work
        return
    with _temporary() as folder:
        if job.has_surrogate:
            for path in surrogate.made:
                shutil.copyfile(located(str(path)), folder_inside(folder, "surrogate") / path.name)
        yield folder / "surrogate"


@contextmanager
def _victim_folder(job: Training) -> Iterator[Path]:
    """The folder of a training; here an interrupted one goes on in it."""
    if job.packed is None:
        folder = folder_inside(Path(job.folder), f"{WORK}/{job.key}")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
        return
    with _temporary() as folder:
        yield folder / "victim"


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeguard-poison-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _images(job: Surrogate | Brewing | Training) -> Dataset:
    if job.packed is None:
        return dataset_of(job.plan.clean, job.plan.size, job.plan.seed)
    return unpack(located(job.packed))


def _success(job: Training, dataset: Dataset, test: NDArray[np.uint8], module: Any) -> tuple[int, int]:
    """How often what the poison is for came true, and how often it could have."""
    if job.aim.wished is None:
        return 0, 0
    wished = dataset.labels.index(job.aim.wished)
    if job.aim.target is not None:
        images = test[[dataset.test.names.index(job.aim.target)]]
    else:
        images = with_logo(test[dataset.test.targets != wished], logo(job.plan.size))
    if job.arm.at_test and job.arm.codec is not None:
        images = coded(images, job.arm.codec, job.plan.seed)
    return int((_answers(module, images) == wished).sum()), len(images)


def _answers(module: Any, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, len(images), 500):
            found.append(logits(module, to_levels(images[start : start + 500]), False).argmax(1).numpy())
    return np.concatenate(found)


@lru_cache(maxsize=1)
def _dataset_kept(values: str, size: int, seed: int) -> Dataset:
    return read_dataset(DataConfig(**json.loads(values)), size=size, seed=seed)


def dataset_of(config: DataConfig, size: int, seed: int) -> Dataset:
    """The images, as `read_dataset` reads them; the last ones are held until `forget_dataset`."""
    return _dataset_kept(json.dumps(asdict(config), sort_keys=True), size, seed)


def forget_dataset() -> None:
    """The folder may have changed since."""
    _dataset_kept.cache_clear()


def decides(plan: Plan) -> dict[str, Any]:
    """What of a plan decides a training: not where its data are, nor how many arms, targets and victims there are."""
    left_out = ("data", "arms", "targets", "victims", "device", "overlay" if plan.method == "given" else "data")
    return {name: value for name, value in asdict(plan).items() if name not in left_out}


def _profiles(codec: str) -> list[str]:
    """What the files hold that a codec's name stands for."""
    files = [read_bounded(located(path), LARGEST_SETTINGS, "the guard profile") for path in codec_files(codec)]
    return [hashlib.sha256(data).hexdigest() for data in files]


def _hash(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]
