"""What a loader returns: a torch module and what its file says about preprocessing, labels and size."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError


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


@dataclass(frozen=True)
class Source:
    """A trained model, loaded safely."""

    kind: str
    module: torch.nn.Module
    size: tuple[int, int] | None  # width, height of the image input, where the export fixes it
    channels_last: bool
    facts: FileFacts


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
    return FileFacts(**{n: getattr(first, n) if getattr(first, n) is not None else getattr(second, n) for n in names})


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
