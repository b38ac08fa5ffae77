"""Keeping the converters' chatter out of the terminal: it goes to a log file, at the level of file descriptors."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def chatter_to(log: Path) -> Iterator[None]:
    """Append everything written to stdout and stderr, by C++ too, to `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with open(log, "ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in zip((1, 2), saved, strict=True):
                os.dup2(original, number)
                os.close(original)


def new_log() -> Path:
    """A fresh log file in the system's temporary folder."""
    handle, name = tempfile.mkstemp(prefix="edgeguard-convert-", suffix=".log")
    os.close(handle)
    return Path(name)
