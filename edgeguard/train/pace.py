"""How many epochs a time allows: a few steps of the training itself, thrown away, say how long one takes."""

import math
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
#: 140 steps left 43 signs at 36 %, 729 of batches of 64 reached 84 % (docs/training.md).
_FEW_STEPS, _SMALL_BATCH, _ITS_RATE = 500, 64, 0.1


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


def few_steps(config: TrainConfig, images: int, minutes: float | None = None) -> str | None:
    """A line where a network that begins from nothing gets so few steps that it will learn little; None elsewhere.

    Args:
        config: with the epochs that it will have.
        images: of the training part.
        minutes: that its epochs were chosen for; None where nobody gave a time.
    """
    if not _will_have_few(config, images) or (config.batch <= _SMALL_BATCH and minutes is None):
        return None
    steps = f"{_steps(config, images)} steps, one a batch of {config.batch}"
    few = f"{steps}, are few for a network that begins from nothing"
    if config.batch > _SMALL_BATCH:
        smaller = _steps(replace(config, batch=_SMALL_BATCH), images)
        return (
            f"{few}: --batch {_SMALL_BATCH} --learning-rate {_ITS_RATE:g} makes {smaller} of the same epochs "
            "(docs/training.md)"
        )
    enough = math.ceil((minutes or 0.0) * _FEW_STEPS / _steps(config, images))
    return f"{few}: --minutes {enough} makes about {_FEW_STEPS} here (docs/training.md)"


def within_line(minutes: float, wanted: TrainConfig, taken: TrainConfig, images: int) -> str:
    """What a time became: how many epochs, and the batch and rate where they are not those of the configuration.

    Args:
        minutes: of wall time.
        wanted, taken: the configuration before and after `config_within`.
        images: of the training part.
    """
    line = f"{minutes:g} minutes are about {taken.epochs} epoch{'s' * (taken.epochs > 1)} here"
    if taken.batch == wanted.batch:
        return line
    few = _steps(replace(wanted, epochs=taken.epochs), images)
    batch = f"--batch {taken.batch} --learning-rate {taken.learning_rate:g}"
    return (
        f"{line}: {_steps(taken, images)} steps with {batch}, taken because the default batch of {wanted.batch} would "
        f"make only {few}"
    )


def guessing_line(last: Epoch, classes: int, batch: int) -> str | None:
    """A line where the training ended no better than guessing; None elsewhere.

    Args:
        last: its last epoch.
        classes: how many.
        batch: images of one of its steps.
    """
    if not is_chance(round(last.test_accuracy * last.test_n), last.test_n, classes):
        return None
    small = f", of few images with --batch {_SMALL_BATCH} --learning-rate {_ITS_RATE:g}" if batch > _SMALL_BATCH else ""
    return (
        f"THIS IS NOT SHOWN TO BE BETTER THAN GUESSING among {classes} classes. Take more epochs or minutes{small}, "
        "and another --output"
    )


def _steps(config: TrainConfig, images: int) -> int:
    return config.epochs * max(images // config.batch, 1)


def _will_have_few(config: TrainConfig, images: int) -> bool:
    return _begins(config) and _steps(config, images) < _FEW_STEPS


def _begins(config: TrainConfig) -> bool:
    """Its network begins from nothing."""
    return not config.network.endswith(".pt2") and not config.start


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
    config: TrainConfig,
    minutes: float,
    folder: Path,
    trainer_in: Callable[[TrainConfig, Path], Trainer],
    *,
    choose_batch: bool = False,
) -> TrainConfig:
    """The configuration with as many epochs as the time allows here; those of the folder where it was begun there.

    Args:
        config: its `epochs` count for nothing.
        minutes: of wall time.
        folder: of the training.
        trainer_in: makes the trainer of a configuration that would write into a folder.
        choose_batch: where the configuration's batch would make few steps, a small batch and its learning rate are
            taken instead.

    Raises:
        InputError: the time is not above 0, or an ensemble is trained.
    """
    if not 0 < minutes < 1e6:
        raise InputError(f"--minutes is a time above 0, got {minutes:g}")
    if config.ensemble:
        raise InputError("--minutes is for one network; an ensemble trains several: give --epochs")
    small = replace(config, batch=min(_SMALL_BATCH, config.batch), learning_rate=min(_ITS_RATE, config.learning_rate))
    if (folder / CONFIG).is_file():
        begun = read_saved(folder / CONFIG)
        if replace(begun, epochs=config.epochs) in ((config, small) if choose_batch else (config,)):
            return begun
    if choose_batch and _begins(config):  # measured first: a step of few images takes less of the time that there is
        found, images = _within(small, minutes, trainer_in)
        if _will_have_few(replace(config, epochs=found.epochs), images):
            return found
    return _within(config, minutes, trainer_in)[0]


def _within(
    config: TrainConfig, minutes: float, trainer_in: Callable[[TrainConfig, Path], Trainer]
) -> tuple[TrainConfig, int]:
    """The configuration with the epochs that fit, and how many images the training part has."""
    with tempfile.TemporaryDirectory() as place:
        trainer = trainer_in(replace(config, epochs=_MOST), Path(place))
        step_s = measured_step_s(trainer)
    test_batches = len(trainer.dataset.test) / config.batch
    epochs = epochs_within(minutes, step_s, trainer.steps // _MOST, test_batches)
    return replace(config, epochs=epochs), len(trainer.dataset.train)
