"""All files below a folder that may be anybody's: however many, and folders within folders only so deep."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeguard.errors import InputError

#: Folders within folders: ten times what any data set has, and a tenth of what Python's own walk can follow.
MOST_DEEP = 100


def walk(
    folder: Path, *, strict: bool = False, into: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever is no folder below a folder, with its name below it, in no order; links to folders are not followed.

    Args:
        folder: where it begins.
        strict: a folder that cannot be read is refused; without, it is left out where the system does not let us in.
        into: says of a folder's name whether it is looked into.

    Raises:
        InputError: folders lie in each other more than `MOST_DEEP` deep, or one cannot be read.

    Example:
        >>> sorted(name for name, entry in walk(Path("photos")))  # doctest: +SKIP
        ['cat/0.png', 'dog/0.png', 'labels.csv']
    """
    above = len(str(folder)) + (not str(folder).endswith("/"))
    waiting = [(str(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > MOST_DEEP:
            raise InputError(f"{folder} holds folders more than {MOST_DEEP} deep; refused: {place[:120]}...")
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield entry.path[above:], entry
                    elif into(entry.name):
                        waiting.append((entry.path, depth + 1))
        except PermissionError as error:
            if strict:
                raise InputError(f"cannot read the folder {place}: {error.strerror}") from error
        except OSError as error:
            raise InputError(f"cannot read the folder {place}: {error.strerror}") from error
