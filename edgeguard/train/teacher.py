"""The teacher of a distillation: a net of an earlier training."""

from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.train.config import TrainConfig
from edgeguard.train.restore import restored
from edgeguard.train.robust import Teacher


def load_teacher(config: TrainConfig, labels: tuple[str, ...]) -> Teacher | None:
    """The teacher that a configuration names; None without one.

    Raises:
        InputError: it cannot be read, or knows other classes or another size.
    """
    if config.teacher is None:
        return None
    found = restored(Path(config.teacher))
    if found.labels != labels or found.config.size != config.size:
        raise InputError(f"the teacher {config.teacher} was trained on other classes or another size")
    return Teacher(found.network, config.teacher_share)
