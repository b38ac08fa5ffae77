"""Certified accuracy of a deployed file under whole-image changes: randomized smoothing, image by image."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.datasets.images import LabeledImage, read_labeled_folder
from edgeguard.datasets.readable import readable
from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.engine.executors import Executor
from edgeguard.evaluate.reports.folder import EVALUATION, claim
from edgeguard.model import Model, load_model
from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.deployed import DeployedFunction, NoisePlace
from edgeguard.smoothing.integer_noise import IntegerNoise
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import LARGEST_PICTURE, foreign_json, lines_of, of_type, read_bounded
from edgeguard.system.located import located
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)

SCHEMA = 1
_LARGEST = 256 << 20  # bytes of results.jsonl
_MOST_LINES = 200_000  # each of an image
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class NoisyImage:
    """A line of results.jsonl: what noisy copies of one image said.

    Attributes:
        idx: place in the fixed order of the images.
        name, sha256: of the file.
        label: its right output index.
        prediction: the smoothed classifier's; None: it abstains.
        radius, radius_levels: L2, pixels 0..1 and levels; None where it abstains.
        count, draws: draws that said the chosen class, of those that were counted.
        votes: how often they said each class, by output index.
        seconds: on one core.
    """

    idx: int
    name: str
    sha256: str
    label: int
    prediction: int | None
    radius: float | None
    radius_levels: float | None
    count: int
    draws: int
    votes: dict[str, int]
    seconds: float
    schema: int = SCHEMA

    @property
    def right_radius(self) -> float:
        """The radius, pixels 0..1; -1 where the prediction is wrong or missing."""
        return -1.0 if self.radius is None or self.prediction != self.label else self.radius


@dataclass(frozen=True)
class NoiseJob:
    """One image.

    Attributes:
        model: path of the .tflite.
        place: where the noise is added.
        plan: how many draws, of which noise.
        seed: of the noise, together with the image's bytes: no image's noise depends on the others or on who draws it.
    """

    model: str
    place: NoisePlace
    plan: SmoothingPlan
    seed: int
    idx: int
    path: str
    name: str
    sha256: str
    label: int

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads."""
        return (self.model, self.path)


@into_folder("output", EVALUATION, RESULTS)
def certify_noise(
    model: Path,
    images: Path,
    output: Path,
    plan: SmoothingPlan,
    executor: Executor,
    *,
    joint: bool = False,
    place: NoisePlace = "frame",
    limit: int = 200,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[NoisyImage]:
    """Certify images, or go on with those that an interrupted command left.

    Args:
        model: a .tflite classifier of pixels.
        images: labelled images; the first `limit` of a fixed order.
        output: gets results.jsonl, a line an image, as they are done.
        plan: sigma, draws and alpha of one image.
        executor: where the work runs.
        joint: alpha is the chance that any certificate of them all is wrong.
        place: where the noise is added.
        seed: of the noise.
        progress: called with what is being done, images done and images in all.

    Returns:
        All lines, in the fixed order.

    Raises:
        InputError: no such model or images, or the folder holds another certificate's results.
        DeviceError: the folder cannot be written, or a worker was killed.
    """
    deployed = load_model(model)
    DeployedFunction(deployed, deployed.input_path, place)  # refuses what cannot be smoothed
    chosen = _chosen(deployed, images, limit)
    if joint:
        plan = SmoothingPlan(plan.sigma, plan.draws, plan.choosing, plan.alpha / len(chosen))
    claim(output, _facts(deployed, plan, place, seed, len(chosen)))
    background = int(deployed.contract.background)
    jobs = [
        NoiseJob(
            str(model), place, plan, seed, idx, str(image.data), image.name, image.sha256,
            int(image.label or 0) + background,
        )
        for idx, image in enumerate(chosen)
    ]  # fmt: skip
    found = _kept(output / RESULTS, jobs)
    left = [job for job in jobs if job.idx not in found]
    if found:
        _log.info("going on: %d of %d images are certified", len(found), len(jobs))
    with _Appended(output / RESULTS, [found[idx] for idx in sorted(found)]) as write:
        for _, line in executor.map(run_noise, left):
            found[line.idx] = line
            write(line)
            progress("certifying", len(found), len(jobs))
    lines = [found[idx] for idx in sorted(found)]
    write_bytes(output / RESULTS, "".join(map(_json, lines)).encode())
    return lines


def run_noise(job: NoiseJob) -> NoisyImage:
    """Certify one image."""
    model = _model(job.model)
    function = DeployedFunction(model, model.input_path, job.place)
    began = time.perf_counter()
    received = model.input_path.arrive(read_bounded(located(job.path), LARGEST_PICTURE, "the picture"))
    rng = np.random.default_rng([job.seed, int(job.sha256[:16], 16)])
    found = certify(function.of(received), function.pixels(received), _noise(job.plan.sigma), job.plan, rng)
    return NoisyImage(
        idx=job.idx,
        name=job.name,
        sha256=job.sha256,
        label=job.label,
        prediction=found.prediction,
        radius=None if found.radius is None else round(found.radius, 9),
        radius_levels=None if found.radius_levels is None else round(found.radius_levels, 6),
        count=found.count,
        draws=found.draws,
        votes={str(index): count for index, count in found.votes.items()},
        seconds=round(time.perf_counter() - began, 3),
    )


def read_lines(folder: Path) -> list[NoisyImage]:
    """The lines of a finished or unfinished certificate, in the fixed order.

    Raises:
        InputError: there are none.
    """
    lines = sorted(_whole_lines(folder / RESULTS), key=lambda line: line.idx)
    if not lines:
        raise InputError(f"{folder} holds no certificate of `evaluate certify --smoothing`")
    return lines


def _chosen(model: Model, images: Path, limit: int) -> list[LabeledImage]:
    contract = model.contract
    known = read_labeled_folder(images, contract.labels, outputs=model.classes, background=contract.background)
    order = np.random.default_rng(0).permutation(len(known))[:limit]
    return readable([known[k] for k in order], images)


def _facts(model: Model, plan: SmoothingPlan, place: NoisePlace, seed: int, images: int) -> dict[str, Any]:
    profile = model.contract.guard.profile
    return {
        "protocol": "certify --smoothing", "model": model.sha256, **asdict(plan), "place": place, "seed": seed,
        "guard": None if profile is None else profile.sha256, "images": images,
    }  # fmt: skip


def _kept(path: Path, jobs: Sequence[NoiseJob]) -> dict[int, NoisyImage]:
    """Whole lines of images that are wanted; half a line, which a killed command leaves, counts for nothing."""
    wanted = {(job.idx, job.sha256) for job in jobs}
    return {line.idx: line for line in _whole_lines(path) if (line.idx, line.sha256) in wanted}


def _whole_lines(path: Path) -> list[NoisyImage]:
    try:
        if not path.exists():
            return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    raw, found = read_bounded(path, _LARGEST, "the results"), []
    whole = raw[: raw.rfind(b"\n") + 1]  # half a line has no end
    if whole.count(b"\n") > _MOST_LINES:
        raise InputError(f"{path} has more than {_MOST_LINES} lines: another --output, or delete it")
    for text in lines_of(whole, _MOST_LINES):
        try:
            line = of_type(NoisyImage, foreign_json(text))
        except (ValueError, TypeError, RecursionError):
            continue
        if line.schema == SCHEMA:
            found.append(line)
    return found


class _Appended:
    """The file begun anew with lines that are known, then a line for each call, on the disk before the next."""

    def __init__(self, path: Path, lines: Sequence[NoisyImage]) -> None:
        self._path = path
        write_bytes(path, "".join(map(_json, lines)).encode())

    def __enter__(self) -> Callable[[NoisyImage], None]:
        self._stream = open(self._path, "a", encoding="utf-8")
        return self._write

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _write(self, line: NoisyImage) -> None:
        try:
            self._stream.write(_json(line))
            self._stream.flush()
        except OSError as error:
            raise DeviceError(f"cannot write {self._path}: {error.strerror}") from error


def _json(line: NoisyImage) -> str:
    return json.dumps(asdict(line)) + "\n"


@lru_cache(maxsize=2)
def _model(path: str) -> Model:
    return load_model(located(path), threads=1)


@lru_cache(maxsize=2)
def _noise(sigma: float) -> IntegerNoise:
    return IntegerNoise(sigma)
