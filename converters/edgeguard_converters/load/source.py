"""What a loader returns: a trained model and what its file says about preprocessing, labels and size."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.spec import audio_input
from edgeguard.errors import InputError
from edgeguard.system.foreign import foreign_json, read_bounded
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs

#: timm's words for a picture that is stretched, and for one that is padded.
_TIMM_CROPS = {"squash": "none", "border": "letterbox"}
_LARGEST = 16 << 20  # bytes of the JSON beside a model
_MOST_SIDE = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileFacts:
    """What a model file (or the JSON beside it) says of itself; None where it is silent. Units: 0..255.

    Attributes:
        mean, std: of the normalization, for the three channels.
        size: width and height of the input.
        crop, crop_fraction: of the contract's preprocessing.
        labels: one for each output.
        trained_on_profile: name or hash of the profile that the training images went through.
        color: what the input holds, colors, one gray channel or DCT coefficients.
        detection: `boxes` and `units` of the contract's Detection.
        training_data_sha256, training_config_sha256: the Merkle root of the training images, and the name of the
            training's configuration.
        audio: what a model of sound says of its input (`AudioInput.to_dict`); None for the others.
        patch_px: side of the square that a classifier of regions was trained against, pixels of the input.
        sha256: of the file itself; None for a folder and for a model in memory.
        stated_by: who gives mean, std and crop, where it is not the file itself: `torchvision mobilenet_v2`.
        crop_by: who gives crop and crop_fraction, where it is not the file itself.
        said: lines that the user has to know, of what was decided as the file was read.
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None
    crop: str | None = None
    crop_fraction: float | None = None
    labels: tuple[str, ...] | None = None
    trained_on_profile: str | None = None
    color: Literal["RGB", "GRAY", "DCT"] = "RGB"
    detection: dict[str, str] = field(default_factory=dict)
    training_data_sha256: str | None = None
    training_config_sha256: str | None = None
    audio: dict[str, Any] | None = None
    patch_px: int | None = None
    sha256: str | None = None
    stated_by: str | None = None
    crop_by: str | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source(ABC):
    """A trained model, loaded safely.

    Attributes:
        kind: of its file, for people: `torch.export`, `Keras`.
        size: width and height of the image input, where the file fixes it.
        facts: what the file says of itself.
    """

    kind: str
    size: tuple[int, int] | None
    facts: FileFacts

    @abstractmethod
    def outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        """Run the trained model on normalized NHWC images (n, h, w, channels) of float32.

        Returns:
            One float32 array (n, ...) for each of the model's outputs.

        Raises:
            InputError: the model fails on images of this size, or returns no tensors.
        """

    @abstractmethod
    def parameter_count(self) -> int:
        """How many trained values the model holds."""

    @abstractmethod
    def not_finite(self) -> str | None:
        """The name of the first weight that holds NaN or infinity."""

    def joins_boxes(self, normalized: NDArray[np.float32]) -> bool:
        """True for a detector whose one output holds boxes and scores; `outputs` and `export` separate them."""
        return False

    @abstractmethod
    def export(self, normalization: Normalization, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """Convert to a float .tflite in `folder`, its input NHWC.

        With a uniform normalization the input is normalized already (the quantized input's scale carries it);
        otherwise it is pixels 0..255 and the graph begins with the normalization.

        Args:
            normalization: what the model was trained with.
            size: width and height of the input.
            folder: where the file is written.
            log: where the exporter's chatter goes.

        Raises:
            InputError: the graph cannot be lowered; the message names the first line of the reason.
        """

    def get_ready(self) -> None:  # noqa: B027 - most sources need nothing
        """Load what `export` needs, before anything else is wanted of it."""

    def release(self) -> None:  # noqa: B027 - most sources hold nothing that could go
        """The model is not needed any more: what holds memory can go."""


def facts_from_json(data: dict[str, Any], origin: str) -> FileFacts:
    """Read our own `edgeguard.json`, or timm's `pretrained_cfg` (mean and std in 0..1, input_size C,H,W).

    Raises:
        InputError: a field of the wrong form.
    """
    try:
        if "pretrained_cfg" in data and isinstance(data["pretrained_cfg"], dict):
            return _from_timm(data["pretrained_cfg"])
        if "mean" in data and "input_size" in data:
            return _from_timm(data)
        preprocess = _object(data.get("preprocess"), "preprocess")
        return FileFacts(
            mean=_triple(preprocess.get("mean")),
            std=_triple(preprocess.get("std")),
            size=_size(data.get("size")),
            crop=_text(preprocess.get("crop"), "crop"),
            crop_fraction=_number(preprocess.get("crop_fraction"), "crop_fraction"),
            labels=_labels(data.get("labels")),
            trained_on_profile=_text(data.get("trained_on_profile"), "trained_on_profile"),
            color=_color(data.get("color", "RGB")),
            detection={str(k): str(v) for k, v in _object(data.get("detection"), "detection").items()},
            training_data_sha256=_hash(data.get("training_data_sha256")),
            training_config_sha256=_hash(data.get("training_config_sha256")),
            audio=_audio(data.get("audio")),
            patch_px=_pixels(dict(data.get("patch_certificate", {})).get("patch_px")),
        )
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        raise InputError(f"{origin}: the preprocessing it gives cannot be read: {error}") from error


def facts_from_sidecar(sidecar: Path) -> FileFacts:
    """Facts from the file that stands beside a model, `model.json` beside `model.pt`; empty facts where none does."""
    if not sidecar.is_file():
        return FileFacts()
    try:
        data = foreign_json(read_bounded(sidecar, _LARGEST, "the JSON beside the model"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{sidecar}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{sidecar}: it holds no JSON object")
    return facts_from_json(data, str(sidecar))


def merge_facts(first: FileFacts, second: FileFacts) -> FileFacts:
    """Field by field: the first's value where it has one, else the second's; what a family says goes last."""
    names = FileFacts.__dataclass_fields__
    if first.stated_by is not None and second.mean is not None:
        first = replace(first, mean=None, std=None, stated_by=None)
    if first.crop_by is not None and (second.crop is not None or second.crop_fraction is not None):
        first = replace(first, crop=None, crop_fraction=None, crop_by=None)
    if first.mean is not None or second.mean is None:
        second = replace(second, stated_by=first.stated_by)
    if first.crop is not None or first.crop_fraction is not None:
        second = replace(second, crop_by=first.crop_by)
    return FileFacts(
        **{n: getattr(second, n) if getattr(first, n) in (None, {}, ()) else getattr(first, n) for n in names}
    )


def _color(value: Any) -> Literal["RGB", "GRAY", "DCT"]:
    if value not in ("RGB", "GRAY", "DCT"):
        raise ValueError(f"color {value!r} is neither RGB, GRAY nor DCT")
    return cast(Literal["RGB", "GRAY", "DCT"], value)


def _audio(value: Any) -> dict[str, Any] | None:
    return None if value is None else audio_input(value).to_dict()


def _hash(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise ValueError(f"{str(value)[:80]!r} is no SHA-256 in hexadecimal")
    return value


def _pixels(value: Any) -> int | None:
    if value is not None and not (type(value) is int and 0 <= value <= 8192):
        raise ValueError(f"patch_px {str(value)[:80]!r} is no count of pixels")
    return value


def _triple(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(f"{str(value)[:80]!r} is no list of three numbers")
    first, second, third = (float(v) for v in value)
    if not all(map(math.isfinite, (first, second, third))):
        raise ValueError("mean and std are finite numbers")
    return first, second, third


def _size(value: Any) -> tuple[int, int] | None:
    """Width and height, where a file gives them."""
    if value is None:
        return None
    width, height = int(value[0]), int(value[1])
    if not (1 <= width <= _MOST_SIDE and 1 <= height <= _MOST_SIDE):
        raise ValueError(f"a size is 1 to {_MOST_SIDE} pixels on each side")
    return width, height


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise ValueError(f"{name} is no object")
    return value or {}


def _text(value: Any, name: str) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f"{name} is no text")
    return value


def _number(value: Any, name: str) -> float | None:
    if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
        raise ValueError(f"{name} is no finite number")
    return value


def _labels(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple | None):
        raise ValueError("labels are no list of names")
    return None if value is None else tuple(str(label) for label in value)


def _from_timm(config: dict[str, Any]) -> FileFacts:
    mean, std = _triple(config.get("mean")), _triple(config.get("std"))
    input_size = config.get("input_size")
    return FileFacts(
        mean=None if mean is None else (mean[0] * 255, mean[1] * 255, mean[2] * 255),
        std=None if std is None else (std[0] * 255, std[1] * 255, std[2] * 255),
        size=None if input_size is None else _size((input_size[2], input_size[1])),
        crop=_TIMM_CROPS.get(str(config.get("crop_mode")), "center") if config.get("crop_pct") else None,
        crop_fraction=_number(config.get("crop_pct"), "crop_pct"),
        labels=_labels(config.get("label_names") or None),
    )
