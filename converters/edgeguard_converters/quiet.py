"""Keeping the converters' chatter out of the terminal: it goes to a log file."""

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from edgeguard.quiet import redirected


def chatter_to(log: Path) -> AbstractContextManager[None]:
    """Append everything written to stdout and stderr, by C++ too, to `log`."""
    return redirected(log, 1, 2)


def new_log() -> Path:
    """A fresh log file in the system's temporary folder."""
    handle, name = tempfile.mkstemp(prefix="edgeguard-convert-", suffix=".log")
    os.close(handle)
    return Path(name)
