"""The state of a training in one file, written whole or not at all."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from edgeguard.errors import DeviceError, EdgeGuardError, InputError
from edgeguard.system.foreign import of_type
from edgeguard.system.names import refuse_special
from edgeguard.train.tensors import load_tensors, not_finite, save_tensors

NAME = "checkpoint.pt"
_Count: TypeAlias = Annotated[int, Meta(ge=0)]
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
    step: _Count
    log_bytes: _Count
    loss_sum: float
    hits: _Count
    seen: _Count
    seconds: Annotated[float, Meta(ge=0)]
    weights: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it beside the old one, then in its place.

    Raises:
        DeviceError: the disk is full or cannot be written; the old one is kept.
    """
    save_tensors(folder / NAME, {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__})


def load_checkpoint(folder: Path, config_sha256: str, data_sha256: str, steps: int) -> Checkpoint | None:
    """The checkpoint of a folder, or None where there is none. The folder may come from somebody else.

    Args:
        folder: of the training.
        config_sha256, data_sha256: that it has to belong to.
        steps: of the whole training.

    Raises:
        InputError: it cannot be read, contradicts itself or the training, or belongs to another one.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found = of_type(Checkpoint, load_tensors(path))
    except (EdgeGuardError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: delete it ({error})") from error
    for kept, wanted, what in (
        (found.config_sha256, config_sha256, "another configuration"),
        (found.data_sha256, data_sha256, "other images"),
    ):
        if kept != wanted:
            raise InputError(f"{path} belongs to {what}: choose another --output, or delete it")
    if found.step > steps:
        raise InputError(f"{path} says that {found.step} steps are done, the training has {steps}: delete it")
    for state in (found.weights, found.average):
        if (name := not_finite(state)) is not None:
            raise InputError(f"{path}: the weights {name[:80]!r} are not all finite: delete it")
    return found


def resume_log(log: Path, length: int | None) -> None:
    """Bring a training's log to where its checkpoint stands; None: there is no checkpoint, so no log counts.

    Raises:
        InputError: the log is a link, which would be cut where it leads to; or it is shorter than that.
        DeviceError: it cannot be written.
    """
    refuse_special(log.parent, log.name)
    try:
        if length is None:
            log.unlink(missing_ok=True)
        elif log.is_file():
            if log.stat().st_size < length:
                raise InputError(f"{log} is shorter than {NAME} says: delete both to train anew")
            os.truncate(log, length)
        elif length or log.exists():
            raise InputError(f"{log} is not there as a file, and {NAME} goes on from it: delete {NAME} to train anew")
    except OSError as error:
        raise DeviceError(f"cannot write {log}: {error.strerror}") from error
