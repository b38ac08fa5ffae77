"""Deep partition aggregation (Levine and Feizi, ICLR 2021): a net for each part of the images, whose votes count.

An image's part is its own pixels' hash, so that a changed, added or removed image touches one part (two where it
changes), whoever changes it.
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.system.names import folder_inside
from edgeguard.system.outputs import output_folder
from edgeguard.train.config import DataConfig, TrainConfig
from edgeguard.train.data import Dataset, Part, read_dataset
from edgeguard.train.networks import REGIONS, network
from edgeguard.train.run import described, root_of, trainer_of
from edgeguard.train.tensors import load_tensors, save_tensors
from edgeguard_converters.training_data.image_facts import pixels_sha256

_log = logging.getLogger(__name__)

SCHEMA = 1
NOTE, MEMBER = "partitions.json", "partition-{:04}.pt"
Progress = Callable[[str, int, int], None]
_LARGEST_NOTE = 1 << 20  # bytes


@dataclass(frozen=True)
class _Note:
    """What of partitions.json the nets are made by."""

    partitions: Annotated[int, Meta(ge=1, le=10_000)]
    labels: Annotated[list[str], Meta(min_length=1, max_length=100_000)]
    network: str
    width: Annotated[int, Meta(ge=4, le=512)]
    size: Annotated[int, Meta(ge=16, le=256)]


def part_of(pixels: NDArray[np.uint8], parts: int) -> int:
    """The part that a picture, (h, w, 3), belongs to: its SHA-256 modulo the number of parts.

    Example:
        >>> part_of(np.zeros((2, 2, 3), np.uint8), 1)
        0
    """
    return int(pixels_sha256(pixels), 16) % parts


def train_partitions(
    config: TrainConfig, folder: Path, parts: int, *, progress: Progress = lambda what, done, total: None
) -> str:
    """Train a net on each part, one after the other; what is there already is not trained again.

    Every net sees the same order of classes and the same seed: what it learns depends on its own part alone, which
    the certificate rests on.

    Args:
        config: of each training. `holdout` would mix parts; the data need a test part, or none is kept.
        folder: gets a file of weights for each part, and partitions.json.
        parts: how many.
        progress: called with what, parts done, parts in all.

    Returns:
        What the images are, in words.

    Raises:
        InputError: the data or the configuration cannot be used, a part without images, or a folder of another
            training.
        DeviceError: the folder cannot be written.
    """
    if config.ensemble or config.network.endswith(".pt2") or config.start is not None or config.method != "none":
        raise InputError("partitions are trained from fresh weights, each alone: no ensemble, start, .pt2 or attack")
    if config.network == REGIONS:
        raise InputError(f"partitions vote on whole pictures: {REGIONS} proves something else")
    dataset = read_dataset(config.part(DataConfig), size=config.size, seed=config.seed)
    rows = _rows(dataset.train, config.size, parts)
    empty = [number for number, own in enumerate(rows) if not len(own)]
    if empty:
        raise InputError(f"{len(empty)} of {parts} parts have no image: fewer --partitions, or more images")
    with output_folder(folder, NOTE, "work-*"):
        _train_parts(config, folder, dataset, rows, progress)
    return described(dataset)


def _train_parts(
    config: TrainConfig, folder: Path, dataset: Dataset, rows: Sequence[NDArray[np.int64]], progress: Progress
) -> None:
    if dataset.poison is not None:
        _log.warning("POISONED TRAINING DATA: %s", dataset.poison)
    note = {
        "schema": SCHEMA,
        "partitions": len(rows),
        "config_sha256": config.sha256,
        "training_data_sha256": root_of(config, dataset),
        "labels": list(dataset.labels),
        "network": config.network,
        "width": config.width,
        "size": config.size,
        "images": described(dataset),
        "smallest_part": min(map(len, rows)),
    }
    _claim(folder / NOTE, note)
    for number, own in enumerate(rows):
        if not (folder / MEMBER.format(number)).is_file():
            _member(config, folder, dataset, own, number)
        progress("partitions", number + 1, len(rows))


def load_partitions(folder: Path) -> tuple[dict[str, object], list[torch.nn.Module]]:
    """What `partitions.json` says, and the nets in evaluation mode.

    Raises:
        InputError: no such folder, another schema, or parts that are missing.
    """
    try:
        raw = read_bounded(folder / NOTE, _LARGEST_NOTE, "the note")
    except InputError as error:
        raise InputError(f"{folder} holds no training of --partitions that is whole: {error}") from error
    with parsing(str(folder / NOTE)):
        note: dict[str, object] = of_type(dict[str, object], foreign_json(raw))
        if note["schema"] != SCHEMA:
            raise InputError(f"{folder / NOTE} has schema {str(note['schema'])[:20]}; this version reads {SCHEMA}")
        said = of_type(_Note, note)
    missing = next((n for n in range(said.partitions) if not (folder / MEMBER.format(n)).is_file()), None)
    if missing is not None:
        raise InputError(f"{folder} holds no training of --partitions that is whole: {MEMBER.format(missing)}")
    return note, [_loaded(folder / MEMBER.format(number), said) for number in range(said.partitions)]


def _loaded(path: Path, note: _Note) -> torch.nn.Module:
    module = network(note.network, len(note.labels), note.width, note.size)
    try:
        module.load_state_dict(load_tensors(path))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not hold the weights of its net ({type(error).__name__})") from error
    return module.eval()


def _member(config: TrainConfig, folder: Path, dataset: Dataset, own: NDArray[np.int64], number: int) -> None:
    torch.manual_seed(config.seed)
    module = network(config.network, len(dataset.labels), config.width, config.size)
    images = dataset.train.pixels(own, config.size)
    part = Part(images, dataset.train.targets[own], images.nbytes)
    work = folder_inside(folder, f"work-{number:04}")
    mine = replace(config, batch=min(config.batch, len(own)))
    one = replace(dataset, train=part, test=_few(dataset.test))
    trainer = trainer_of(mine, module, one, work)
    trainer.run()
    save_tensors(folder / MEMBER.format(number), trainer.average.state_dict())
    shutil.rmtree(work, ignore_errors=True)


def _few(part: Part) -> Part:
    """A net's own accuracy is nobody's figure: the log gets that of a hundred images."""
    rows = np.arange(min(len(part), 100))
    images = part.images[rows] if isinstance(part.images, np.ndarray) else part.images[: len(rows)]
    return Part(images, part.targets[rows], part.file_bytes)


def _rows(part: Part, size: int, parts: int) -> list[NDArray[np.int64]]:
    """Rows of each part, sorted by their pixels' hashes: their order must not depend on other parts' images."""
    hashes = [pixels_sha256(part.pixels(np.array([row]), size)[0]) for row in range(len(part))]
    found: list[list[int]] = [[] for _ in range(parts)]
    for row in sorted(range(len(part)), key=lambda row: (hashes[row], int(part.targets[row]))):
        found[int(hashes[row], 16) % parts].append(row)
    return [np.array(own, np.int64) for own in found]


def _said_there(path: Path) -> object:
    raw = read_bounded(path, _LARGEST_NOTE, "the note")
    with parsing(str(path)):
        return foreign_json(raw)


def _claim(path: Path, note: dict[str, object]) -> None:
    if path.is_file() and _said_there(path) != note:
        raise InputError(f"{path.parent} belongs to another training: choose another --output")
    write_bytes(path, (json.dumps(note, indent=1) + "\n").encode())
