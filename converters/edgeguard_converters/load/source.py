"""What a loader returns: a trained model and what its file says about preprocessing, labels and size."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.graph.normalization import Normalisation
from edgeguard_converters.graph.run import Outputs


@dataclass(frozen=True)
class FileFacts:
    """What a model file (or the JSON beside it) says of itself; None where it is silent. Units: 0..255."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None  # width, height
    crop: str | None = None
    crop_fraction: float | None = None
    labels: tuple[str, ...] | None = None
    trained_on_profile: str | None = None
    color: Literal["RGB", "DCT"] = "RGB"
    detection: dict[str, str] = field(default_factory=dict)  # `boxes` and `units` of the contract's Detection


@dataclass(frozen=True)
class FloatGraph:
    """A float .tflite on disk with the domain of its input.

    `low` and `high` are what pixel 0 and pixel 255 become at the graph's input; `normalised` is the tensor behind a
    normalisation inside the graph.
    """

    path: Path
    normalisation: Normalisation
    low: float
    high: float
    normalised: str | None = None

    def known_range(self) -> tuple[float, float]:
        """What the normalisation makes of pixels 0..255, over all channels."""
        ends = self.normalisation.apply(np.array([[[0] * 3, [255] * 3]], np.uint8))
        return float(ends.min()), float(ends.max())

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels to the graph's float input."""
        if self.normalisation.is_uniform:
            return self.normalisation.apply(pixels)
        return pixels.astype(np.float32)


@dataclass(frozen=True)
class Source(ABC):
    """A trained model, loaded safely."""

    kind: str
    size: tuple[int, int] | None  # width, height of the image input, where the file fixes it
    facts: FileFacts

    @abstractmethod
    def outputs(self, normalised: NDArray[np.float32]) -> Outputs:
        """Run the trained model on normalised NHWC images; one array (n, ...) for each of its outputs.

        Raises:
            InputError: the model fails on images of this size, or returns no tensors.
        """

    @abstractmethod
    def parameter_count(self) -> int:
        """How many trained values the model holds."""

    @abstractmethod
    def not_finite(self) -> str | None:
        """The name of the first weight that holds NaN or infinity."""

    def joins_boxes(self, normalised: NDArray[np.float32]) -> bool:
        """True for a detector whose one output holds boxes and scores; `outputs` and `export` separate them."""
        return False

    @abstractmethod
    def export(self, normalisation: Normalisation, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """Convert to a float .tflite in `folder`, its input NHWC.

        With a uniform normalisation the input is normalised already (the quantised input's scale carries it);
        otherwise it is pixels 0..255 and the graph begins with the normalisation.

        Raises:
            InputError: the graph cannot be lowered; the message names the first line of the reason.
        """

    def here(self) -> "Source":
        """The source in this process, for what needs the module itself."""
        return self

    def release(self) -> None:  # noqa: B027 - most sources hold nothing that could go
        """Nothing more will be asked: what holds memory can go."""


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
        preprocess = data.get("preprocess", {})
        size = data.get("size")
        return FileFacts(
            mean=_triple(preprocess.get("mean")),
            std=_triple(preprocess.get("std")),
            size=None if size is None else (int(size[0]), int(size[1])),
            crop=preprocess.get("crop"),
            crop_fraction=preprocess.get("crop_fraction"),
            labels=None if data.get("labels") is None else tuple(str(label) for label in data["labels"]),
            trained_on_profile=data.get("trained_on_profile"),
            color=_color(data.get("color", "RGB")),
            detection={str(key): str(value) for key, value in dict(data.get("detection", {})).items()},
        )
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{origin}: the preprocessing it gives cannot be read: {error}") from error


def facts_from_sidecar(model: Path) -> FileFacts:
    """Facts from `model.json` beside `model.pt`; empty facts where there is none."""
    sidecar = model.with_suffix(".json")
    if not sidecar.is_file():
        return FileFacts()
    try:
        data = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{sidecar}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{sidecar}: it holds no JSON object")
    return facts_from_json(data, str(sidecar))


def merge_facts(first: FileFacts, second: FileFacts) -> FileFacts:
    """Field by field: the first's value where it has one, else the second's."""
    names = FileFacts.__dataclass_fields__
    return FileFacts(**{n: getattr(second, n) if getattr(first, n) in (None, {}) else getattr(first, n) for n in names})


def _color(value: Any) -> Literal["RGB", "DCT"]:
    if value not in ("RGB", "DCT"):
        raise ValueError(f"color {value!r} is neither RGB nor DCT")
    return "DCT" if value == "DCT" else "RGB"


def _triple(value: Any) -> tuple[float, float, float] | None:
    if value is None:
        return None
    first, second, third = (float(v) for v in value)
    return first, second, third


def _from_timm(config: dict[str, Any]) -> FileFacts:
    mean, std = _triple(config.get("mean")), _triple(config.get("std"))
    input_size = config.get("input_size")
    return FileFacts(
        mean=None if mean is None else (mean[0] * 255, mean[1] * 255, mean[2] * 255),
        std=None if std is None else (std[0] * 255, std[1] * 255, std[2] * 255),
        size=None if input_size is None else (int(input_size[2]), int(input_size[1])),
        crop_fraction=config.get("crop_pct"),
        labels=None if not config.get("label_names") else tuple(str(label) for label in config["label_names"]),
    )
