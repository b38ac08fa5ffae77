"""A lock between processes of one machine."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.system.names import refuse_special


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it; it goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_special(path.parent, path.name)
    with open(path, "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
