"""Lists of files to leave out of a data set."""

import io
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.foreign import read_bounded
from edgeguard.system.text import decoded_text

_MOST_BYTES, _MOST_NAMES = 64 << 20, 4_000_000


def read_exclusions(path: Path) -> list[str]:
    """The names of a list of files to leave out: a line each; empty lines and those that begin with # do not count.

    Raises:
        InputError: it cannot be read, or names millions of files.
    """
    text, _ = decoded_text(read_bounded(path, _MOST_BYTES, "the list"))
    names: dict[str, None] = {}
    for line in io.StringIO(text, newline=None):
        name = line.strip()
        if name and not name.startswith("#"):
            names[name] = None
        if len(names) > _MOST_NAMES:
            raise InputError(f"{path} names more than {_MOST_NAMES} files: move them out of the data instead")
    return list(names)
