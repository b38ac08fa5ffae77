"""`edgeguard poison evaluate`: poisons x arms x victims, each training a unit of work that is kept when it is done."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.arrays import foreign_arrays
from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.errors import InputError
from edgeguard.evaluate.engine.executors import local_executor
from edgeguard.evaluate.engine.resume import finished
from edgeguard.poison.codecs import coded
from edgeguard.poison.given import given_poison
from edgeguard.poison.lock import held
from edgeguard.poison.make import Poison, poison_of, poisoned, trained
from edgeguard.poison.patterns import logo, with_logo
from edgeguard.poison.plan import Arm, Plan, arm_of
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.system.names import folder_inside, refuse_special
from edgeguard.system.outputs import into_folder
from edgeguard.train.codec_network import logits
from edgeguard.train.config import DataConfig
from edgeguard.train.data import Dataset, read_dataset
from edgeguard.train.run import described

RESULTS, _PLAN, _KEPT, _WORK = "results.jsonl", "plan.json", "kept", "work"
_LARGEST_KEPT = 1 << 20  # bytes of a result, and of the plan
_LARGEST_HEADERS = 1 << 16  # of a poison's arrays
Progress = Callable[[str, int, int], None]


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
class Brewing:
    """A poison that is to be made; `codec` is what its maker expects."""

    plan: Plan
    folder: str
    aim: Aim
    codec: str
    gradient: str

    @property
    def key(self) -> str:
        """Names the poison."""
        return _hash([_decides(self.plan), asdict(self.aim), self.codec, self.gradient])


@dataclass(frozen=True)
class Training:
    """A victim that is to be trained."""

    plan: Plan
    folder: str
    aim: Aim
    arm: Arm
    victim: int

    @property
    def brewing(self) -> Brewing | None:
        """The poison that it is fed; None for clean images."""
        if self.arm.is_clean:
            return None
        codec = (self.arm.codec or "none") if self.arm.gradient else "none"
        return Brewing(self.plan, self.folder, self.aim, codec, self.arm.gradient or "straight-through")

    @property
    def key(self) -> str:
        """Names the result."""
        return _hash([_decides(self.plan), asdict(self.aim), asdict(self.arm), self.victim])


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


@dataclass(frozen=True)
class JsonKept:
    """Results as small JSON files, each under its job's key."""

    folder: Path

    def load(self, key: str) -> dict[str, Any] | None:
        """A result; None where there is none that is whole."""
        try:
            found = foreign_json(read_bounded(self.folder / f"{key}.json", _LARGEST_KEPT, "the result"))
            return of_type(dict[str, Any], found)
        except (InputError, ValueError, RecursionError):
            return None

    def save(self, key: str, result: dict[str, Any]) -> None:
        """Keep a result, whole or not at all."""
        write_bytes(self.folder / f"{key}.json", (json.dumps(result) + "\n").encode())


@into_folder("output", _PLAN, _KEPT, _WORK)
def evaluate_poison(
    plan: Plan,
    output: Path,
    *,
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> list[Outcome]:
    """Make every poison, train every victim; what is done already is not done again.

    Args:
        plan: from `read_plan`.
        output: folder of results.jsonl and of what is kept; one of another plan is refused.
        workers: processes; None: one for each core.
        progress: called with what, units done, units in all.

    Raises:
        InputError: the data cannot be used, or the folder belongs to another plan or seed.
        DeviceError: the folder cannot be written, or a worker was killed.
    """
    folder_inside(output, _KEPT)
    folder_inside(output, _WORK)
    _dataset_kept.cache_clear()  # the folder may have changed since
    dataset = _dataset(plan.clean, plan.size, plan.seed)
    images = dataset.train.images
    if not isinstance(images, np.ndarray):
        raise InputError('an evaluation needs the images as pixels: keep = "pixels"')
    decides = {"plan": _decides(plan), "images": hashlib.sha256(images.tobytes()).hexdigest()}
    if plan.method == "given":
        laid = given_poison(plan.training.part(DataConfig), size=plan.size, seed=plan.seed)
        decides["given"] = hashlib.sha256(laid.rows.tobytes() + laid.images.tobytes()).hexdigest()
    place = output / _PLAN
    if place.is_file() and _decided(place) != decides:
        raise InputError(f"{output} belongs to another plan, seed or other images: choose another --output")
    write_bytes(place, json.dumps(decides).encode())
    arms = [arm_of(name) for name in plan.arms]
    jobs = [
        Training(plan, str(output), aim, arm, victim)
        for aim in aims(plan, dataset)
        for arm in arms
        for victim in range(plan.victims)
    ]
    brewings = list(dict.fromkeys(brewing for job in jobs if (brewing := job.brewing) is not None))
    kept = JsonKept(output / _KEPT)
    with closing(local_executor(workers)) as run:
        finished(brewings, _brew, kept=kept, executor=run, progress=partial(progress, "poisons"))
        found = finished(
            jobs, _train, kept=kept, executor=run, progress=partial(progress, "trainings"), fits=_is_outcome_of
        )
    outcomes = [of_type(Outcome, one) for one in found]
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in outcomes)
    write_bytes(output / RESULTS, lines.encode())
    return outcomes


def _is_outcome_of(job: Training, kept: dict[str, Any]) -> bool:
    """Whether a kept result can be the training's; another one is made again."""
    try:
        one = of_type(Outcome, kept)
    except ValueError:
        return False
    is_own = (one.arm, one.victim, one.poison) == (job.arm.name, job.victim, job.aim.number)
    return is_own and 0 <= one.hits <= one.n and one.n > 0 and 0 <= one.success <= one.success_n


def _decided(place: Path) -> object:
    raw = read_bounded(place, _LARGEST_KEPT, "the plan")
    with parsing(str(place)):
        return foreign_json(raw)


def source_of(plan: Plan) -> str:
    """What the images are, in words."""
    return described(_dataset(plan.clean, plan.size, plan.seed))


def aims(plan: Plan, dataset: Dataset) -> list[Aim]:
    """What each poison is for, drawn from the plan's seed."""
    rng = np.random.default_rng([plan.seed, 17])
    if plan.method not in ("gradient-matching", "trigger"):
        return [Aim(0)]
    found = []
    for number in range(plan.targets):
        row = int(rng.integers(len(dataset.test)))
        own = int(dataset.test.targets[row])
        wished = int(rng.choice([c for c in range(len(dataset.labels)) if c != own]))
        target = dataset.test.names[row] if plan.method == "gradient-matching" else None
        found.append(Aim(number, target, dataset.labels[wished]))
    return found


def _brew(job: Brewing) -> dict[str, Any]:
    plan = job.plan
    dataset = _dataset(plan.clean, plan.size, plan.seed)
    training = replace(plan.training, codec=job.codec, backward=job.gradient)  # type: ignore[arg-type]  # checked when read
    if plan.method == "given":
        made = given_poison(plan.training.part(DataConfig), size=plan.size, seed=plan.seed)
    else:
        config = plan.poison(
            target=job.aim.target, wished=job.aim.wished, codec=job.codec, gradient=job.gradient,
            seed=plan.seed + job.aim.number,
        )  # fmt: skip
        surrogate = Path(job.folder) / _WORK / f"surrogate-{_hash([job.codec])}"
        with held(surrogate.with_suffix(".lock")):  # the others wait, and find the attacker's network there
            made = poison_of(config, training, dataset, surrogate)
    with replaced(_poison_file(job)) as partial:
        np.savez(partial, rows=made.rows, images=made.images, targets=made.targets)
    return {"facts": {name: value for name, value in made.facts.items() if name == "matching_loss"}}


def _train(job: Training) -> dict[str, Any]:
    plan, arm = job.plan, job.arm
    dataset = _dataset(plan.clean, plan.size, plan.seed)
    test = dataset.test.pixels(np.arange(len(dataset.test)), plan.size)
    facts: dict[str, Any] = {}
    changed = 0
    if (brewing := job.brewing) is not None:
        poison = _kept_poison(_poison_file(brewing), np.asarray(dataset.train.images), len(dataset.labels))
        changed = len(poison.rows)
        facts = (JsonKept(Path(job.folder) / _KEPT).load(brewing.key) or {}).get("facts", {})
        dataset = poisoned(dataset, poison)
    if arm.codec is not None:
        train = coded(np.asarray(dataset.train.images), arm.codec, plan.seed)
        dataset = replace(dataset, train=replace(dataset.train, images=train))
    seen = coded(test, arm.codec, plan.seed) if arm.at_test and arm.codec is not None else test
    dataset = replace(dataset, test=replace(dataset.test, images=seen))
    training = replace(plan.training, seed=plan.seed + 1000 * (job.victim + 1), mixup=1.0 if arm.kind == "mixup" else 0)
    folder = folder_inside(Path(job.folder), f"{_WORK}/{job.key}")
    module = trained(training, dataset, folder, lambda what, done, total: None)
    hits = int((_answers(module, seen) == dataset.test.targets).sum())
    success, tries = _success(job, dataset, test, module)
    shutil.rmtree(folder, ignore_errors=True)
    return asdict(Outcome(
        arm.name, job.victim, job.aim.number, job.aim.target, job.aim.wished, success, tries, hits, len(test),
        facts.get("matching_loss"), changed,
    ))  # fmt: skip


def _kept_poison(path: Path, images: NDArray[np.uint8], classes: int) -> Poison:
    """A poison that was made before, checked against the images that it changes."""
    refuse_special(path.parent, path.name)
    try:
        arrays = foreign_arrays(path, images.nbytes + 16 * len(images) + _LARGEST_HEADERS)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    with parsing(str(path)):
        rows, changed, targets = arrays["rows"], arrays["images"], arrays["targets"]
        if rows.shape != targets.shape or not (_within(rows, len(images)) and _within(targets, classes)):
            raise ValueError("it names images or classes that are not there")
        if changed.shape != (len(rows), *images.shape[1:]) or changed.dtype != np.uint8:
            raise ValueError("its pictures do not fit the images")
        return Poison(rows, changed, targets, {})


def _within(numbers: NDArray[np.int64], count: int) -> bool:
    """Whether whole numbers are places in a list of so many."""
    return numbers.ndim == 1 and numbers.dtype.kind in "iu" and bool(((numbers >= 0) & (numbers < count)).all())


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


def _dataset(config: DataConfig, size: int, seed: int) -> Dataset:
    return _dataset_kept(json.dumps(asdict(config), sort_keys=True), size, seed)


def _poison_file(job: Brewing) -> Path:
    return Path(job.folder) / _KEPT / f"{job.key}.npz"


def _decides(plan: Plan) -> dict[str, Any]:
    """What of a plan decides a training: not where its data are, nor how many arms, targets and victims there are."""
    left_out = ("data", "arms", "targets", "victims", "device", "overlay" if plan.method == "given" else "data")
    return {name: value for name, value in asdict(plan).items() if name not in left_out}


def _hash(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]
