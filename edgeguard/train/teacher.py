"""The teacher of a distillation: a net of an earlier training."""

from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.train.restore import restored
from edgeguard.train.robust import Teacher


def load_teacher(path: Path, labels: tuple[str, ...], *, size: int, share: float) -> Teacher:
    """The network of a folder that `edgeguard train` wrote.

    Args:
        path: of the folder.
        labels: of the classes that are learned now.
        size: of their images, a side in pixels.
        share: of the loss that follows the teacher, 0..1.

    Raises:
        InputError: it cannot be read, or knows other classes or another size.
    """
    found = restored(path)
    if found.labels != labels or found.config.size != size:
        raise InputError(f"the teacher {path} was trained on other classes or another size")
    return Teacher(found.network, share)
