"""Redirecting what C++ libraries print past Python: at the level of file descriptors."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def redirected(target: Path, *descriptors: int) -> Iterator[None]:
    """Append what is written to the given descriptors (1: stdout, 2: stderr) to `target` while the context is open.

    Other threads' output goes the same way meanwhile.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    try:
        with open(target, "ab") as stream:
            for descriptor in descriptors:
                os.dup2(stream.fileno(), descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in saved.items():
            os.dup2(original, descriptor)
            os.close(original)


@contextmanager
def muted() -> Iterator[None]:
    """Silence stderr: runtimes greet there on every load."""
    with redirected(Path(os.devnull), 2):
        yield
