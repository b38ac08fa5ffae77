"""`edgeguard poison make`: a folder of the changed images, and `poison.json` that says what they are."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.datasets.poison_note import NAME, SCHEMA
from edgeguard.errors import InputError
from edgeguard.poison.certified_class import CLEAN, SLOPES, against_certificates
from edgeguard.poison.class_victim import ClassAttack
from edgeguard.poison.error_minimizing import error_minimizing
from edgeguard.poison.gradient_matching import Brew, brewed
from edgeguard.poison.patterns import added, logo, lsp_patterns, one_pixel, with_logo
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import read_bounded
from edgeguard.system.names import folder_inside
from edgeguard.system.outputs import into_folder
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import AugmentConfig, GradientMode, SmoothingConfig, TrainConfig
from edgeguard.train.data import Dataset, read_dataset
from edgeguard.train.networks import network
from edgeguard.train.run import trainer_of

_log = logging.getLogger(__name__)

Method = Literal["gradient-matching", "lsp", "ops", "em-class", "trigger", "pacd"]
METHODS: tuple[Method, ...] = ("gradient-matching", "lsp", "ops", "em-class", "trigger", "pacd")
#: Share of the training images that is changed where nothing is said.
_BUDGETS = {"gradient-matching": 0.01, "trigger": 0.01}
_WITH_NETWORK = ("gradient-matching", "em-class", "pacd")
_SETTINGS, _SURROGATE = "making.json", "surrogate"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PoisonConfig:
    """What is to be made.

    Attributes:
        method: see docs/poisoning.md.
        budget: share of the training images that may be changed; None: the method's.
        eps_8bit: how far a pixel may move, levels (gradient-matching, em-class, pacd).
        wished: the class that the target, or a picture with the logo, is to be called.
        target: a test image, by its name in the data (gradient-matching).
        attacked: the class whose certificates are to fall (pacd).
        steps, restarts: of gradient-matching; steps are rounds for em-class, and walks through the images for pacd.
        codec: the profile that the attacker expects in the training: an adaptive poison.
        gradient: the codec's derivative that the attacker uses.
        seed: of everything random.
    """

    method: Method
    budget: float | None = None
    eps_8bit: float = 16.0
    wished: str | None = None
    target: str | None = None
    attacked: str | None = None
    steps: int = 250
    restarts: int = 8
    codec: str = "none"
    gradient: GradientMode = "straight-through"
    seed: int = 0

    @property
    def share(self) -> float:
        """The budget that counts."""
        return _BUDGETS.get(self.method, 1.0) if self.budget is None else self.budget


@dataclass(frozen=True, eq=False)
class Poison:
    """Changed images.

    Attributes:
        rows: places in the training part.
        images: (n, size, size, 3) that stand there now.
        targets: their classes now.
        facts: what the method has to say of itself, for `poison.json`.
    """

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    facts: dict[str, Any]


def check_config(config: PoisonConfig) -> None:
    """Refuse settings that make no poison, before data are read.

    Raises:
        InputError: what is wrong.
    """
    if config.method not in METHODS:
        raise InputError(f"there is no poison {config.method!r}; known: {', '.join(METHODS)}")
    if not 0 < config.share <= 1:
        raise InputError(f"--budget is a share of the training images, above 0 and up to 1, not {config.share:g}")
    if config.method in _WITH_NETWORK and not 1 <= config.eps_8bit <= 255:
        raise InputError(f"--eps is 1 to 255 levels, not {config.eps_8bit:g}: with less nothing would change")
    targeted, named = config.method == "gradient-matching", config.method in ("gradient-matching", "trigger")
    for given, wanted, flag in (
        (config.target, targeted, "--target"),
        (config.wished, named, "--as"),
        (config.attacked, config.method == "pacd", "--class"),
    ):
        if (given is not None) != wanted:
            raise InputError(f"{config.method} {'needs' if wanted else 'takes no'} {flag}")
    if config.codec != "none" and config.method not in _WITH_NETWORK:
        raise InputError(f"{config.method} is made without a network: it can expect no --codec")


@into_folder("output", _SETTINGS, _SURROGATE)
def make_poison(
    config: PoisonConfig, training: TrainConfig, output: Path, *, progress: Progress = lambda what, done, total: None
) -> Poison:
    """Make a poison and write it: class folders of PNG files, only the changed ones, and `poison.json`.

    Args:
        config: the poison.
        training: of the network that the attacker trains, and where the data are.
        output: a new folder, or one of the same poison that was interrupted.
        progress: called with what, steps done, steps in all.

    Raises:
        InputError: settings or data that make no poison, or a folder of another one.
        DeviceError: the folder cannot be written.
    """
    check_config(config)
    data = Path(training.data)
    dataset = read_dataset(training, size=training.size, seed=training.seed)
    _claim(output, config, training)
    if dataset.train.qualities:
        _log.warning(
            "the training images are JPEG files; what is changed is written as PNG, since coding it as JPEG again "
            "would erase part of it. The coding alone then tells changed images from others (`data audit` sees it)"
        )
    poison = poison_of(config, training, dataset, output / _SURROGATE, progress=progress)
    _write(output, config, dataset, poison, data)
    return poison


def poison_of(
    config: PoisonConfig,
    training: TrainConfig,
    dataset: Dataset,
    surrogate: Path,
    *,
    progress: Progress = lambda what, done, total: None,
) -> Poison:
    """The changed images of a data set; `surrogate` is the folder of the attacker's own network."""
    if config.method == "gradient-matching":
        return _gradient_matching(config, training, dataset, surrogate, progress)
    if config.method == "pacd":
        return _against_certificates(config, training, dataset, progress)
    images = _pixels(dataset)
    targets, classes = dataset.train.targets, len(dataset.labels)
    rng = np.random.default_rng([config.seed, 15])
    if config.method == "trigger":
        wished = class_index(dataset, config.wished)
        rows = _drawn(np.flatnonzero(targets != wished), config.share * len(targets), rng)
        mark = logo(training.size)
        return Poison(rows, with_logo(images[rows], mark), np.full(len(rows), wished), {"logo_pixels": len(mark)})
    rows = _drawn(np.arange(len(targets)), config.share * len(targets), rng)
    if config.method == "ops":
        changed, pixels = one_pixel(images, targets, classes, config.seed)
        return Poison(rows, changed[rows], targets[rows], {"pixels": pixels})
    if config.method == "lsp":
        patterns = lsp_patterns(classes, training.size, config.seed)
    else:
        module = network(training.network, classes, training.width, training.size)
        patterns = error_minimizing(
            module, images, targets, classes, eps_8bit=config.eps_8bit, rounds=config.steps, seed=config.seed,
            codec=config.codec, gradient=config.gradient, progress=progress,
        )  # fmt: skip
    return Poison(rows, added(images[rows], patterns[targets[rows]]), targets[rows], {})


def _gradient_matching(
    config: PoisonConfig, training: TrainConfig, dataset: Dataset, surrogate: Path, progress: Progress
) -> Poison:
    wished = class_index(dataset, config.wished)
    row = target_row(dataset, str(config.target))
    if dataset.test.targets[row] == wished:
        raise InputError(f"{config.target} is of class {config.wished} already: --as wants another one")
    rng = np.random.default_rng([config.seed, 15])
    rows = _drawn(np.flatnonzero(dataset.train.targets == wished), config.share * len(dataset.train), rng)
    module = trained(training, dataset, surrogate, progress)
    victim = CodecNetwork(module, TrainingCodec(config.codec), config.gradient, np.random.default_rng(config.seed))
    parameters = [p for p in module.parameters() if p.requires_grad]
    augment = training.part(AugmentConfig)
    brew = Brew(config.eps_8bit, config.steps, config.restarts, augment.shift, augment.flip, config.seed)
    target = dataset.test.pixels(np.array([row]), training.size)[0]
    images, loss = brewed(victim, parameters, _pixels(dataset)[rows], target, wished, brew=brew, progress=progress)
    return Poison(rows, images, dataset.train.targets[rows], {"matching_loss": round(loss, 5)})


def _against_certificates(config: PoisonConfig, training: TrainConfig, dataset: Dataset, progress: Progress) -> Poison:
    attacked, targets = class_index(dataset, config.attacked, "--class"), dataset.train.targets
    if any(
        isinstance(module, torch.nn.BatchNorm2d)
        for module in network(training.network, len(dataset.labels), training.width, training.size).modules()
    ):
        raise InputError(
            f"--model {training.network} normalizes by the batch, and pacd takes no second derivatives through that: "
            "give --model lenet"
        )
    rows = np.flatnonzero(targets == attacked)
    if config.budget is not None:
        rows = _drawn(rows, config.share * len(targets), np.random.default_rng([config.seed, 15]))
    torch.manual_seed(config.seed)
    found = against_certificates(
        lambda: network(training.network, len(dataset.labels), training.width, training.size),
        _pixels(dataset), targets, rows,
        attack=ClassAttack(config.eps_8bit, config.steps, seed=config.seed), smoothing=training.part(SmoothingConfig),
        codec=config.codec, gradient=config.gradient, progress=progress,
    )  # fmt: skip
    moved = int((found.images != _pixels(dataset)[rows]).any(axis=(1, 2, 3)).sum())
    clean, now = found.radii[CLEAN], found.radii[found.found_by]
    if not moved:
        raise InputError(
            f"no image of {config.attacked} was moved: the attacker's network was not right about any of them yet, or "
            "is certain of all; raise --steps, or give more images or another --sigma"
        )
    if moved < len(rows) and found.found_by == SLOPES:
        _log.warning("only %d of %d images were moved: more --steps, or more images, move the others", moved, len(rows))
    if now >= clean:
        _log.warning("nothing lowers the radii of the attacker's own networks (%s now, %s on clean images)", now, clean)
    facts = {
        "against": training.smoothing, "sigma": training.sigma, "images_moved": moved, "found_by": found.found_by,
        "attackers_radii": found.radii,
    }  # fmt: skip
    return Poison(rows, found.images, targets[rows], facts)


def trained(training: TrainConfig, dataset: Dataset, folder: Path, progress: Progress) -> torch.nn.Module:
    """A network in evaluation mode with its averaged weights, trained in `folder`, or gone on with there."""
    folder_inside(folder.parent, folder.name)
    torch.manual_seed(training.seed)
    module = network(training.network, len(dataset.labels), training.width, training.size)
    trainer = trainer_of(training, module, dataset, folder)
    trainer.run(progress)
    found = trainer.average.eval()
    for parameter in found.parameters():
        parameter.requires_grad_(True)
    return found


def class_index(dataset: Dataset, name: str | None, flag: str = "--as") -> int:
    """A class by name, which a flag gave.

    Raises:
        InputError: the data have none.
    """
    if name not in dataset.labels:
        raise InputError(f"{flag} {name}: the data have no such class; they have {', '.join(dataset.labels[:12])}")
    return dataset.labels.index(name)


def target_row(dataset: Dataset, name: str) -> int:
    """A test image's place, by its name below the data's folder or by a path that ends with that.

    Raises:
        InputError: no test image, or several.
    """
    plain = Path(name).as_posix()
    rows = [row for row, one in enumerate(dataset.test.names) if plain == one or plain.endswith(f"/{one}")]
    if len(rows) != 1:
        raise InputError(f"--target {name} is {'no' if not rows else 'not one'} test image of the data")
    return rows[0]


def poisoned(dataset: Dataset, poison: Poison) -> Dataset:
    """The data with a poison in its place."""
    images, targets = _pixels(dataset).copy(), dataset.train.targets.copy()
    images[poison.rows], targets[poison.rows] = poison.images, poison.targets
    return replace(dataset, train=replace(dataset.train, images=images, targets=targets))


def _pixels(dataset: Dataset) -> NDArray[np.uint8]:
    images = dataset.train.images
    if not isinstance(images, np.ndarray):
        raise InputError('poison needs the images as pixels: keep = "pixels"')
    return images


def _drawn(rows: NDArray[np.int64], count: float, rng: np.random.Generator) -> NDArray[np.int64]:
    wanted = round(count)
    if wanted < 1:
        raise InputError("--budget gives no image: raise it, or use more training images")
    if wanted > len(rows):
        _log.warning("the budget is %d images, there are %d that may be changed: all of them are", wanted, len(rows))
    return np.sort(rng.permutation(rows)[:wanted])


def _claim(output: Path, config: PoisonConfig, training: TrainConfig) -> None:
    """A folder belongs to one poison: with another seed or another network it cannot be gone on with."""
    named = {key: value for key, value in asdict(config).items() if key != "attacked" or value is not None}
    settings = json.dumps({**named, "training": training.sha256}, sort_keys=True)
    place = output / _SETTINGS
    if place.is_file():
        if read_bounded(place, 1 << 20, "the settings").strip() != settings.encode():
            raise InputError(f"{output} belongs to a poison of other settings or another seed: choose another --output")
    elif any(output.iterdir()):
        raise InputError(f"{output} is not empty: choose a new folder")
    write_bytes(place, settings.encode() + b"\n")


def _write(output: Path, config: PoisonConfig, dataset: Dataset, poison: Poison, data: Path) -> None:
    names, moved = [], {}
    for row, image, target in zip(poison.rows.tolist(), poison.images, poison.targets.tolist(), strict=True):
        old = PurePosixPath(dataset.train.names[row])
        name = str(old.with_suffix(".png"))
        if target != dataset.train.targets[row]:
            name = str(old.parent.parent / dataset.labels[target] / f"from-{old.parent.name}-{old.stem}.png")
            moved[name] = str(old)
        folder_inside(output, str(PurePosixPath(name).parent))
        write_bytes(output / name, cv2.imencode(".png", image[:, :, ::-1])[1].tobytes(), durable=False)
        names.append(name)
    note = {
        "schema": SCHEMA,
        "threat": "training",
        **{key: value for key, value in asdict(config).items() if value is not None},
        "budget": config.share if config.attacked is None else round(len(poison.rows) / len(dataset.train), 6),
        "data": data.name,
        "files": names,
        "moved": moved,
        **poison.facts,
    }
    write_bytes(output / NAME, (json.dumps(note, indent=1) + "\n").encode())


def said(config: PoisonConfig, poison: Poison) -> str:
    """What was made, in a line."""
    parts = [f"{len(poison.rows)} images changed ({config.method})"]
    if config.wished is not None:
        parts.append(f"to be called {config.wished}: {config.target or 'pictures with the logo'}")
    if config.attacked is not None:
        parts.append(
            f"to take the certified radii of {config.attacked} away (training {poison.facts['against']}, "
            f"sigma {poison.facts['sigma']:g})"
        )
        name, radii = poison.facts["found_by"], poison.facts["attackers_radii"]
        parts.append(
            f"by {name}: clean images of it have the mean radius {radii[name]:.2f} for the attacker's own network "
            f"(the lowest of {len(radii) - 1} estimates after short trainings), {radii[CLEAN]:.2f} without"
        )
    if "matching_loss" in poison.facts:
        parts.append(f"matching loss {poison.facts['matching_loss']:.3f}")
    if config.codec != "none":
        parts.append(f"made through {config.codec} ({config.gradient})")
    return ", ".join(parts)
