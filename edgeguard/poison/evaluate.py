"""`edgeguard poison evaluate`: poisons x arms x victims, each training a unit of work that is kept when it is done."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluate.engine.cluster import executor_at
from edgeguard.evaluate.engine.executors import Executor, ThisProcess
from edgeguard.evaluate.engine.resume import finished
from edgeguard.poison.given import given_poison
from edgeguard.poison.kept import LARGEST_KEPT, JsonKept, PoisonsKept
from edgeguard.poison.packed import pack
from edgeguard.poison.plan import Plan, arm_of
from edgeguard.poison.units import (
    KEPT,
    WORK,
    Aim,
    Brewing,
    Outcome,
    Training,
    brew,
    dataset_of,
    decides,
    forget_dataset,
    train,
    train_surrogate,
)
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.system.names import folder_inside
from edgeguard.system.outputs import into_folder
from edgeguard.train.config import DataConfig
from edgeguard.train.data import Dataset
from edgeguard.train.run import described

RESULTS, _PLAN, _IMAGES = "results.jsonl", "plan.json", "images.npz"
Progress = Callable[[str, int, int], None]


@into_folder("output", _PLAN, KEPT, WORK)
def evaluate_poison(
    plan: Plan,
    output: Path,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> list[Outcome]:
    """Make every poison, train every victim; what is done already is not done again.

    Args:
        plan: from `read_plan`.
        output: folder of results.jsonl and of what is kept; one of another plan is refused.
        workers: processes; None: one for each core.
        ray_address: make and train on this Ray cluster instead. Results are kept here.
        progress: called with what, units done, units in all.

    Raises:
        InputError: the data cannot be used, or the folder belongs to another plan or seed; ray is not installed.
        DeviceError: the folder cannot be written, a worker was killed, the cluster does not answer.
    """
    with closing(executor_at(ray_address, workers)) as executor:
        folder_inside(output, KEPT)
        folder_inside(output, WORK)
        forget_dataset()
        dataset = dataset_of(plan.clean, plan.size, plan.seed)
        _claim(output, plan, dataset)
        with _packed(dataset, output, wanted=ray_address is not None) as packed:
            jobs = [
                Training(plan, str(output), aim, arm_of(arm), victim, packed)
                for aim in aims(plan, dataset)
                for arm in plan.arms
                for victim in range(plan.victims)
            ]
            _make_poisons(jobs, output, executor, progress)
            found = finished(
                jobs, train, kept=JsonKept(output / KEPT), executor=executor,
                progress=partial(progress, "trainings"), fits=_is_outcome_of,
            )  # fmt: skip
    outcomes = [of_type(Outcome, one) for one in found]
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in outcomes)
    write_bytes(output / RESULTS, lines.encode())
    return outcomes


def _claim(output: Path, plan: Plan, dataset: Dataset) -> None:
    """A folder belongs to one plan, its seed and its images.

    Raises:
        InputError: it belongs to another one.
    """
    images = dataset.train.images
    if not isinstance(images, np.ndarray):
        raise InputError('an evaluation needs the images as pixels: keep = "pixels"')
    facts = {"plan": decides(plan), "images": hashlib.sha256(images.tobytes()).hexdigest()}
    if plan.method == "given":
        laid = given_poison(plan.training.part(DataConfig), size=plan.size, seed=plan.seed)
        facts["given"] = hashlib.sha256(laid.rows.tobytes() + laid.images.tobytes()).hexdigest()
    place = output / _PLAN
    if place.is_file() and _decided(place) != facts:
        raise InputError(f"{output} belongs to another plan, seed or other images: choose another --output")
    write_bytes(place, json.dumps(facts).encode())


@contextmanager
def _packed(dataset: Dataset, output: Path, *, wanted: bool) -> Iterator[str | None]:
    """The file of the images that travels; None where none is wanted, since workers here read the folder."""
    if not wanted:
        yield None
        return
    path = output / WORK / _IMAGES
    pack(dataset, path)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _make_poisons(jobs: Sequence[Training], output: Path, executor: Executor, progress: Progress) -> None:
    """Every poison that is not there yet, and before it the attackers' networks where other machines need them."""
    brewings = list(dict.fromkeys(brewing for job in jobs if (brewing := job.brewing) is not None))
    kept = PoisonsKept(output / KEPT)
    missing = [brewing for brewing in brewings if not kept.has(brewing.key)]
    if any(brewing.plan.method == "given" for brewing in missing):
        executor = ThisProcess()  # its folder is here
    _make_surrogates(missing, executor)
    done = len(brewings) - len(missing)
    progress("poisons", done, len(brewings))
    for count, (place, poison) in enumerate(executor.map(brew, missing), start=1):
        kept.save(missing[place].key, poison)
        progress("poisons", done + count, len(brewings))


def _make_surrogates(brewings: Sequence[Brewing], executor: Executor) -> None:
    """Train each network once and keep its files: machines of a cluster share no folder to find it in."""
    wanted = [brewing.surrogate for brewing in brewings if brewing.packed is not None and brewing.has_surrogate]
    missing = [one for one in dict.fromkeys(wanted) if not all(path.is_file() for path in one.made)]
    for place, contents in executor.map(train_surrogate, missing):
        folder_inside(missing[place].work.parent, missing[place].work.name)
        for path, content in zip(missing[place].made, contents, strict=True):
            write_bytes(path, content)


def _is_outcome_of(job: Training, kept: dict[str, Any]) -> bool:
    """Whether a kept result can be the training's; another one is made again."""
    try:
        one = of_type(Outcome, kept)
    except ValueError:
        return False
    is_own = (one.arm, one.victim, one.poison) == (job.arm.name, job.victim, job.aim.number)
    return is_own and 0 <= one.hits <= one.n and one.n > 0 and 0 <= one.success <= one.success_n


def _decided(place: Path) -> object:
    raw = read_bounded(place, LARGEST_KEPT, "the plan")
    with parsing(str(place)):
        return foreign_json(raw)


def source_of(plan: Plan) -> str:
    """What the images are, in words."""
    return described(dataset_of(plan.clean, plan.size, plan.seed))


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
