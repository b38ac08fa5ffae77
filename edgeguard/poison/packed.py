"""The images of an evaluation in one file, for machines that have no folder of them."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.arrays import foreign_arrays
from edgeguard.errors import InputError
from edgeguard.system.files import replaced
from edgeguard.system.foreign import foreign_json, of_type, parsing
from edgeguard.train.data import Dataset, Part


def pack(dataset: Dataset, path: Path) -> None:
    """Write the images of both parts, uint8 (n, size, size, 3), with their classes and names.

    Raises:
        DeviceError: it cannot be written.
    """
    said = {"labels": dataset.labels, "train": dataset.train.names, "test": dataset.test.names}
    with replaced(path, durable=False) as partial:
        np.savez(
            partial,
            said=np.frombuffer(json.dumps(said).encode(), np.uint8),
            train=np.asarray(dataset.train.images),
            train_targets=dataset.train.targets,
            test=np.asarray(dataset.test.images),
            test_targets=dataset.test.targets,
        )


@lru_cache(maxsize=1)
def unpack(path: Path) -> Dataset:
    """The images of a file that `pack` wrote: what trainings need of them.

    Raises:
        InputError: it cannot be read.
    """
    arrays = foreign_arrays(path, _size(path))
    with parsing(str(path)):
        said = of_type(dict[str, list[str]], foreign_json(arrays["said"].tobytes()))
        return Dataset(tuple(said["labels"]), _part(arrays, said, "train"), _part(arrays, said, "test"), ())


def _part(arrays: dict[str, NDArray[Any]], said: dict[str, list[str]], part: str) -> Part:
    images = arrays[part]
    return Part(images, arrays[f"{part}_targets"], images.nbytes, names=tuple(said[part]))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
