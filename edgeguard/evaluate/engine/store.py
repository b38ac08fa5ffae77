"""Results of attacks on disk: each under its job's key, with the hash of its own bytes."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.arrays import foreign_arrays
from edgeguard.errors import DeviceError, InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import parsing, read_bounded
from edgeguard.system.leftovers import clear_all_partials
from edgeguard.system.names import refuse_special

_DIGEST = 32
_LARGEST = 1 << 30  # bytes of a result


@dataclass(frozen=True)
class AdversarialImages:
    """Changed images of one batch, uint8 (height, width, 3) each, and the seconds that the attack took."""

    images: tuple[NDArray[np.uint8], ...]
    seconds: float


def of_picture(changed: NDArray[np.uint8], frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A changed image, if it is as large as the one that it was made of: it may come from somebody else's folder.

    Raises:
        InputError: it has another size.
    """
    if changed.shape != frame.shape:
        raise InputError(
            f"a kept result has the size {changed.shape[1]}x{changed.shape[0]}, its picture "
            f"{frame.shape[1]}x{frame.shape[0]}: delete the folder adversarial/ of the output"
        )
    return changed


@dataclass(frozen=True)
class Store:
    """A folder of attack results; a file that is cut short or changed counts as missing.

    Attributes:
        folder: within an output folder; is made with the first result. A result is its file `KEY[:2]/KEY.adv`.

    Raises:
        InputError: it or a folder in it is a link.
        DeviceError: the folder cannot be read.
    """

    folder: Path

    def __post_init__(self) -> None:
        refuse_special(self.folder.parent, self.folder.name)
        try:
            for part in self.folder.iterdir():
                refuse_special(self.folder, part.name)
                clear_all_partials(part)  # of an evaluation that was killed
        except FileNotFoundError:
            return
        except OSError as error:
            raise DeviceError(f"cannot read {self.folder}: {error.strerror}") from error

    def load(self, key: str) -> AdversarialImages | None:
        """The result of a job, or None where there is none that is whole."""
        try:
            data = read_bounded(self._path(key), _LARGEST, "the result")
        except InputError:
            return None
        digest, payload = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        try:
            with parsing("the result"):
                arrays = foreign_arrays(payload, len(payload))  # ours are not packed
                images = tuple(arrays[f"image_{i}"] for i in range(int(arrays["count"])))
                if any(image.ndim != 3 or image.dtype != np.uint8 for image in images):
                    return None
                return AdversarialImages(images, float(arrays["seconds"]))
        except InputError:
            return None

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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeviceError(f"cannot write in {self.folder}: {error.strerror}") from error
        write_bytes(path, hashlib.sha256(payload).digest() + payload)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.adv"
