"""Keeping the converters' chatter out of the terminal: it goes to a log file."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeguard.system.leftovers import clear_empty, hold
from edgeguard.system.redirect import redirected

_PREFIX, _SUFFIX = "edgeguard-convert-", ".log"
_KEPT = 5  # logs of refused conversions; older ones go when a new one begins


def chatter_to(log: Path) -> AbstractContextManager[None]:
    """Append everything written to stdout and stderr, by C++ too, to `log`."""
    return redirected(log, 1, 2)


def new_log() -> Path:
    """A fresh log file in the system's temporary folder; the five newest of ours stay beside it."""
    _clear_old(Path(tempfile.gettempdir()))
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX)
    os.close(handle)
    return Path(name)


@contextmanager
def log_file() -> Iterator[Path]:
    """A log for the length of some work. It stays only if that ends in an error whose message names it.

    It is held meanwhile: the empty one of a killed conversion goes with the next.
    """
    log = new_log()
    held = hold(log)
    try:
        yield log
    except BaseException as error:
        if str(log) not in str(error):
            log.unlink(missing_ok=True)
        raise
    else:
        log.unlink(missing_ok=True)
    finally:
        if held is not None:
            os.close(held)


def _clear_old(folder: Path) -> None:
    clear_empty(folder, re.compile(re.escape(_PREFIX) + ".*" + re.escape(_SUFFIX)))
    logs: list[tuple[float, Path]] = []
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            about = path.lstat()
        except OSError:
            continue  # another conversion cleared it
        if about.st_uid == os.geteuid():
            logs.append((about.st_mtime, path))
    for _, path in sorted(logs, reverse=True)[_KEPT:]:
        path.unlink(missing_ok=True)
