"""The log of a training: a line of JSON for each epoch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeguard.errors import DeviceError
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded

LOG = "log.jsonl"
_LARGEST_LOG = 16 << 20  # bytes


@dataclass(frozen=True)
class Epoch:
    """A line of the log. Test figures are those of the averaged weights, images through the training's codec (with a
    fixed seed where it is drawn), and with the training's noise where a base for smoothing is trained."""

    epoch: int
    step: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    test_low: float
    test_high: float
    test_n: int
    learning_rate: float
    seconds: float


def read_log(folder: Path) -> list[Epoch]:
    """The epochs that are done.

    Raises:
        InputError: a line is none of ours.
    """
    log = folder / LOG
    if not log.is_file():
        return []
    lines = read_bounded(log, _LARGEST_LOG, "the log").splitlines()
    with parsing(str(log)):
        return [of_type(Epoch, foreign_json(line)) for line in lines]


def append_epoch(folder: Path, epoch: Epoch) -> None:
    """Write a line behind the others.

    Raises:
        DeviceError: it cannot be written.
    """
    try:
        with open(folder / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(epoch)) + "\n")
    except OSError as error:
        raise DeviceError(f"cannot write {folder / LOG}: {error.strerror}") from error
