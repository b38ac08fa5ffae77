"""Golden images: pictures whose outputs travel with a bundle, and come out the same on every device before it runs.

Each picture goes the whole way of a frame: decoding, guard, crop, resize, quantization, graph. Imports the model's
libraries, so the agent runs it in a child process (`golden_child`).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed, InputError
from edgeguard.model import Model, load_model
from edgeguard.system.foreign import read_bounded

_LARGEST_IMAGE = 16 << 20


def open_model(path: Path) -> Model:
    """A bundle's model, on one thread of the CPU.

    Raises:
        InputError: it cannot be used.
    """
    return load_model(path, delegate="cpu", threads=1)


def outputs(model: Model, image: Path) -> tuple[NDArray[Any], ...]:
    """What the graph says of a picture, as the runtime stores it.

    Raises:
        InputError: the picture does not decode, or the graph fails.
    """
    data = read_bounded(image, _LARGEST_IMAGE, "the golden image")
    tensor = model.input_path(model.input_path.arrive(data)).tensor
    return model.run_raw(tensor)


def output_bytes(arrays: tuple[NDArray[Any], ...]) -> bytes:
    """Outputs as they are kept in a bundle: one after another, little-endian."""
    return b"".join(np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)).tobytes() for a in arrays)


def check(folder: Path, images: tuple[str, ...], expected: str, tolerance: int) -> int:
    """Compare every golden image's outputs with what the bundle says.

    Args:
        folder: an unpacked bundle.
        images, expected: names of the images, and of their outputs.
        tolerance: quantization steps; for float outputs the bytes have to be equal all the same.

    Returns:
        How many images there are.

    Raises:
        CheckFailed: an output differs.
        InputError: the model cannot be used.
    """
    model = open_model(folder / "model.tflite")
    wanted = (folder / expected).read_bytes()
    for image in images:
        found = outputs(model, folder / image)
        size = len(output_bytes(found))
        mine, wanted = wanted[:size], wanted[size:]
        if len(mine) < size:
            raise InputError(f"{expected} holds fewer outputs than there are golden images")
        _compare(image, found, mine, tolerance)
    if wanted:
        raise InputError(f"{expected} holds more outputs than there are golden images")
    return len(images)


def _compare(image: str, found: tuple[NDArray[Any], ...], wanted: bytes, tolerance: int) -> None:
    if output_bytes(found) == wanted:
        return
    largest = 0.0
    for array in found:
        size = array.nbytes
        other = np.frombuffer(wanted[:size], array.dtype.newbyteorder("<")).reshape(array.shape)
        wanted = wanted[size:]
        difference = float(np.abs(array.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
        exact = array.dtype.kind == "f"
        largest = max(largest, float("inf") if exact and difference else difference)
    if largest > tolerance:
        raise CheckFailed(f"{image}: the model answers otherwise here than where the bundle was made")
