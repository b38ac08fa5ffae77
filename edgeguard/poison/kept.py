"""What an evaluation of poisons keeps, each under its job's key: poisons, and results of trainings."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.arrays import foreign_arrays
from edgeguard.errors import InputError
from edgeguard.poison.make import Poison
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.system.located import located
from edgeguard.system.names import refuse_special

LARGEST_KEPT = 1 << 20  #: bytes of a result, and of the plan
_LARGEST_HEADERS = 1 << 16  # of a poison's arrays


@dataclass(frozen=True)
class JsonKept:
    """Results as small JSON files, each under its job's key."""

    folder: Path

    def load(self, key: str) -> dict[str, Any] | None:
        """A result; None where there is none that is whole."""
        try:
            found = foreign_json(read_bounded(located(str(self.path(key))), LARGEST_KEPT, "the result"))
            return of_type(dict[str, Any], found)
        except (InputError, ValueError, RecursionError):
            return None

    def save(self, key: str, result: dict[str, Any]) -> None:
        """Keep a result, whole or not at all."""
        write_bytes(self.path(key), (json.dumps(result) + "\n").encode())

    def path(self, key: str) -> Path:
        """Its file."""
        return self.folder / f"{key}.json"


@dataclass(frozen=True)
class PoisonsKept:
    """Poisons: an .npz of the images, and a JSON file of what the method says of itself."""

    folder: Path

    def has(self, key: str) -> bool:
        """Whether a poison is there, whole."""
        return self._facts(key) is not None and self.paths(key)[0].is_file()

    def save(self, key: str, poison: Poison) -> None:
        """Keep a poison, whole or not at all.

        Raises:
            DeviceError: it cannot be written.
        """
        with replaced(self.paths(key)[0]) as partial:
            np.savez(partial, rows=poison.rows, images=poison.images, targets=poison.targets)
        facts = {name: value for name, value in poison.facts.items() if name == "matching_loss"}
        JsonKept(self.folder).save(key, {"facts": facts})

    def load(self, key: str, images: NDArray[np.uint8], classes: int) -> Poison:
        """A poison that was made before, checked against the images (n, size, size, 3) that it changes.

        Raises:
            InputError: it cannot be read, or does not fit them.
        """
        poison = kept_poison(located(str(self.paths(key)[0])), images, classes)
        return replace(poison, facts=self._facts(key) or {})

    def paths(self, key: str) -> tuple[Path, Path]:
        """Its two files."""
        return self.folder / f"{key}.npz", JsonKept(self.folder).path(key)

    def _facts(self, key: str) -> dict[str, float] | None:
        try:
            return of_type(dict[str, dict[str, float]], JsonKept(self.folder).load(key) or {})["facts"]
        except (ValueError, KeyError):
            return None


def kept_poison(path: Path, images: NDArray[np.uint8], classes: int) -> Poison:
    """The images of a poison's file, checked against those (n, size, size, 3) that it changes.

    Raises:
        InputError: it cannot be read, or does not fit them.
    """
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
