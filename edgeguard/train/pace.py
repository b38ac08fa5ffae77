"""How many epochs a time allows: a few steps of the training itself, thrown away, say how long one takes."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.statistics import is_chance
from edgeguard.train.checkpoint import CONFIG
from edgeguard.train.config import TrainConfig, read_saved
from edgeguard.train.log import Epoch
from edgeguard.train.loop import Trainer

_WARM = 2  # steps that are slower than the others
_STEPS, _SECONDS = 6, 8.0  # measured until both are reached
_FORWARD = 0.4  # of a step's time: an image of the test set goes forward only
_MOST = 10_000
_FEW_STEPS, _SMALL_BATCH = 500, 64  # 140 left 43 signs at 36 %, 729 of batches of 64 reached 84 % (docs/training.md)


class _EnoughSeen(Exception):
    pass


def epochs_within(minutes: float, seconds_a_step: float, steps: int, test_batches: float) -> int:
    """Whole epochs, one at least, that fit into a time.

    Args:
        minutes: of wall time, above 0.
        seconds_a_step: of one training step.
        steps: of an epoch.
        test_batches: how many batches the test set is, which goes forward once an epoch.

    Example:
        >>> epochs_within(10, 0.5, 100, 25)  # 55 s an epoch
        10
    """
    epoch_s = seconds_a_step * (steps + _FORWARD * test_batches)
    return min(max(int(60 * minutes / epoch_s), 1), _MOST)


def few_steps(config: TrainConfig, images: int) -> str | None:
    """A line where a network that begins from nothing gets so few steps that it will learn little; None elsewhere.

    Args:
        config: with the epochs that it will have.
        images: of the training part.
    """
    steps = config.epochs * max(images // config.batch, 1)
    begins = not config.network.endswith(".pt2") and not config.start
    if not begins or steps >= _FEW_STEPS or config.batch <= _SMALL_BATCH:
        return None
    return (
        f"{steps} steps, one a batch of {config.batch}, are few for a network that begins from nothing: --batch "
        f"{_SMALL_BATCH} --learning-rate 0.1 makes {config.epochs * max(images // _SMALL_BATCH, 1)} of the same epochs "
        "(docs/training.md)"
    )


def guessing_line(last: Epoch, classes: int) -> str | None:
    """A line where the training ended no better than guessing; None elsewhere."""
    if not is_chance(round(last.test_accuracy * last.test_n), last.test_n, classes):
        return None
    return (
        f"THIS IS NO BETTER THAN GUESSING among {classes} classes: the network has not learned yet. Take more epochs, "
        f"of few images with --batch {_SMALL_BATCH} --learning-rate 0.1, and another --output"
    )


def measured_step_s(trainer: Trainer) -> float:
    """Seconds of one step, of a trainer that is not used afterwards: its weights have moved."""
    began: list[float] = []

    def watch(what: str, done: int, total: int | None) -> None:
        began.append(time.monotonic())
        measured = len(began) - _WARM
        if measured > _STEPS and began[-1] - began[_WARM - 1] > _SECONDS:
            raise _EnoughSeen

    with suppress(_EnoughSeen):
        trainer.run(watch)
    return (began[-1] - began[_WARM - 1]) / (len(began) - _WARM)


def config_within(
    config: TrainConfig, minutes: float, folder: Path, trainer_in: Callable[[TrainConfig, Path], Trainer]
) -> TrainConfig:
    """The configuration with as many epochs as the time allows here; those of the folder where it was begun there.

    Args:
        config: its `epochs` count for nothing.
        minutes: of wall time.
        folder: of the training.
        trainer_in: makes the trainer of a configuration that would write into a folder.

    Raises:
        InputError: the time is not above 0, or an ensemble is trained.
    """
    if not 0 < minutes < 1e6:
        raise InputError(f"--minutes is a time above 0, got {minutes:g}")
    if config.ensemble:
        raise InputError("--minutes is for one network; an ensemble trains several: give --epochs")
    if (folder / CONFIG).is_file():
        begun = read_saved(folder / CONFIG)
        if replace(begun, epochs=config.epochs) == config:
            return begun
    with tempfile.TemporaryDirectory() as place:
        trainer = trainer_in(replace(config, epochs=_MOST), Path(place))
        step_s = measured_step_s(trainer)
    test_batches = len(trainer.dataset.test) / config.batch
    return replace(config, epochs=epochs_within(minutes, step_s, trainer.steps // _MOST, test_batches))
