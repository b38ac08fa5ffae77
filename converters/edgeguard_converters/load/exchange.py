"""What the process that holds a model and ours tell each other: arrays, facts and graphs as plain data, checked."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.spec import audio_input
from edgeguard.errors import InputError
from edgeguard.system.frames import Frame
from edgeguard_converters.load.source import FileFacts

_FLOAT = np.dtype("<f4")
_MOST_AXES = 8
_MOST_TEXT = 1 << 16
_MOST_LABELS = 100_000
_MOST_SAID = 50


def frame_of_arrays(arrays: tuple[NDArray[np.float32], ...], fields: dict[str, Any] | None = None) -> Frame:
    """A message with arrays of float32.

    Example:
        >>> arrays_of(frame_of_arrays((np.ones((1, 2), np.float32),)))[0].tolist()
        [[1.0, 1.0]]
    """
    shapes = [list(array.shape) for array in arrays]
    blobs = tuple(np.ascontiguousarray(array, _FLOAT).tobytes() for array in arrays)
    return Frame({**(fields or {}), "shapes": shapes}, blobs)


def arrays_of(frame: Frame, rows: int | None = None) -> tuple[NDArray[np.float32], ...]:
    """The arrays of float32 of a message.

    Args:
        frame: the message.
        rows: that each of them must have; None: any number.

    Raises:
        InputError: shapes and bytes do not fit.
    """
    shapes = frame.fields.get("shapes")
    if not isinstance(shapes, list) or len(shapes) != len(frame.blobs):
        raise InputError("the process that holds the model answered with no arrays")
    found = []
    for shape, blob in zip(shapes, frame.blobs, strict=True):
        if not isinstance(shape, list) or len(shape) > _MOST_AXES or any(not _is_side(side) for side in shape):
            raise InputError("the process that holds the model answered with an array of no shape")
        if math.prod(shape) * _FLOAT.itemsize != len(blob) or (rows is not None and shape[:1] != [rows]):
            raise InputError(f"the process that holds the model answered with an array of another shape: {shape}")
        found.append(np.frombuffer(blob, _FLOAT).reshape(shape))
    return tuple(found)


def facts_to_json(facts: FileFacts) -> dict[str, Any]:
    """Facts as JSON holds them."""
    return asdict(facts)


def facts_of(data: Any) -> FileFacts:
    """Facts that came from a process which read a stranger's file, each of its own type and size.

    Raises:
        InputError: one is of another type.
    """
    try:
        labels = data["labels"]
        if labels is not None and len(labels) > _MOST_LABELS:
            raise ValueError("more labels than a model has outputs")
        color = data["color"]
        if color not in ("RGB", "GRAY", "DCT"):
            raise ValueError("no such color")
        return FileFacts(
            mean=_three(data["mean"]),
            std=_three(data["std"]),
            size=size_of(data["size"]),
            crop=_text(data["crop"]),
            crop_fraction=None if data["crop_fraction"] is None else float(data["crop_fraction"]),
            labels=None if labels is None else tuple(str(_text(label)) for label in labels),
            trained_on_profile=_text(data["trained_on_profile"]),
            color=color,
            stated_by=_text(data["stated_by"]),
            crop_by=_text(data["crop_by"]),
            said=tuple(str(_text(line)) for line in data["said"][:_MOST_SAID]),
            detection={str(_text(key)): str(_text(value)) for key, value in dict(data["detection"]).items()},
            training_data_sha256=_text(data["training_data_sha256"]),
            training_config_sha256=_text(data["training_config_sha256"]),
            audio=None if data["audio"] is None else audio_input(data["audio"]).to_dict(),
            patch_px=None if data["patch_px"] is None else int(data["patch_px"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"what the file says of itself cannot be read: {error}") from error


def size_of(value: Any) -> tuple[int, int] | None:
    """Width and height that came from such a process.

    Raises:
        ValueError: they are no size of an image.
    """
    if value is None:
        return None
    width, height = value
    if not (_is_side(width) and _is_side(height)) or not 0 < width * height <= 1 << 26:
        raise ValueError(f"{value} is no size of an image")
    return width, height


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


def _three(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    first, second, third = (float(number) for number in value)
    return first, second, third


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise ValueError("a text was wanted")
    return value
