"""The state of a training in one file, written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard.system.files import replaced

NAME = "checkpoint.pt"
#: What a training's folder holds beside it.
MODEL, CONFIG = "model.pt2", "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands.

    Attributes:
        config_sha256: of the configuration that it belongs to.
        data_sha256: of the images that it has seen.
        step: steps that are done.
        log_bytes: length of the log at that step; what is behind was written after the checkpoint.
        loss_sum, hits, seen: of the epoch that is not done yet.
        seconds: spent so far.
        weights, average, optimizer: state_dicts; `average` is the moving average of the weights.
    """

    config_sha256: str
    data_sha256: str
    step: int
    log_bytes: int
    loss_sum: float
    hits: int
    seen: int
    seconds: float
    weights: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it beside the old one, then in its place.

    Raises:
        DeviceError: the disk is full or cannot be written; the old one is kept.
    """
    with replaced(folder / NAME) as partial:
        torch.save({name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}, partial)


def load_checkpoint(folder: Path, config_sha256: str, data_sha256: str) -> Checkpoint | None:
    """The checkpoint of a folder, or None where there is none.

    Raises:
        InputError: it cannot be read, or belongs to another configuration or other data.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = Checkpoint(**torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:
        raise InputError(f"{path} cannot be read as a checkpoint ({type(error).__name__}): delete it") from error
    for kept, wanted, what in (
        (found.config_sha256, config_sha256, "another configuration"),
        (found.data_sha256, data_sha256, "other images"),
    ):
        if kept != wanted:
            raise InputError(f"{path} belongs to {what}: choose another --output, or delete it")
    return found
