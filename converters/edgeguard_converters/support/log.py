"""Keeping the converters' chatter out of the terminal: it goes to a log file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeguard.system.redirect import redirected


def chatter_to(log: Path) -> AbstractContextManager[None]:
    """Append everything written to stdout and stderr, by C++ too, to `log`."""
    return redirected(log, 1, 2)


def new_log() -> Path:
    """A fresh log file in the system's temporary folder."""
    handle, name = tempfile.mkstemp(prefix="edgeguard-convert-", suffix=".log")
    os.close(handle)
    return Path(name)


@contextmanager
def log_file() -> Iterator[Path]:
    """A log for the length of some work. It stays only if that ends in an error whose message names it."""
    log = new_log()
    try:
        yield log
    except BaseException as error:
        if str(log) not in str(error):
            log.unlink(missing_ok=True)
        raise
    log.unlink(missing_ok=True)
