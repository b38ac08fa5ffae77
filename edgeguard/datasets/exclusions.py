"""Lists of files to leave out of a data set."""

from pathlib import Path

from edgeguard.system.foreign import read_bounded
from edgeguard.system.text import decoded_text

_MOST_BYTES = 64 << 20


def read_exclusions(path: Path) -> list[str]:
    """The names of a list of files to leave out: a line each; empty lines and those that begin with # do not count.

    Raises:
        InputError: it cannot be read.
    """
    text, _ = decoded_text(read_bounded(path, _MOST_BYTES, "the list"))
    names = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return list(dict.fromkeys(names))
