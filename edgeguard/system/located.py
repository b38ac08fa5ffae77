"""Where a file is that a task names: in place, or a copy that came with the task from another machine."""

from pathlib import Path

_copies: dict[str, Path] = {}


def located(path: str) -> Path:
    """The copy that stands for a path in this process, else the path itself; it may be missing, which reading it says.

    Example:
        >>> located("photos/none-came.jpg").name
        'none-came.jpg'
    """
    return _copies.get(path, Path(path))


def stand_for(path: str, copy: Path) -> None:
    """From now on a copy stands for a path in this process."""
    _copies[path] = copy
