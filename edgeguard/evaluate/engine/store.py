"""Results of attacks on disk: each under its job's key, with the hash of its own bytes."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError
from edgeguard.system.files import write_bytes
from edgeguard.system.leftovers import clear_all_partials

_DIGEST = 32


@dataclass(frozen=True)
class AdversarialImages:
    """Changed images of one batch, uint8 (height, width, 3) each, and the seconds that the attack took."""

    images: tuple[NDArray[np.uint8], ...]
    seconds: float


@dataclass(frozen=True)
class Store:
    """A folder of attack results; a file that is cut short or changed counts as missing.

    Attributes:
        folder: is made where it is not there; a result is its file `KEY[:2]/KEY.adv`.

    Raises:
        DeviceError: the folder cannot be made.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.iterdir():
                clear_all_partials(part)  # of an evaluation that was killed
        except OSError as error:
            raise DeviceError(f"cannot write in {self.folder}: {error.strerror}") from error

    def load(self, key: str) -> AdversarialImages | None:
        """The result of a job, or None where there is none that is whole."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        digest, payload = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        with np.load(io.BytesIO(payload)) as arrays:
            count = int(arrays["count"])
            return AdversarialImages(tuple(arrays[f"image_{i}"] for i in range(count)), float(arrays["seconds"]))

    def save(self, key: str, result: AdversarialImages) -> None:
        """Keep a result: written beside, renamed.

        Raises:
            DeviceError: it cannot be written.
        """
        buffer = io.BytesIO()
        named = {f"image_{i}": image for i, image in enumerate(result.images)}
        np.savez(buffer, allow_pickle=False, count=len(result.images), seconds=result.seconds, **named)
        payload = buffer.getvalue()
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, hashlib.sha256(payload).digest() + payload)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.adv"
