"""Redirecting what libraries print: Python's streams, and the file descriptors for what C++ prints past Python."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

_one_at_a_time = threading.RLock()  # two that overlap would restore each other's descriptors


@contextmanager
def redirected(target: Path, *descriptors: int) -> Iterator[None]:
    """Append what is written to the given descriptors (1: stdout, 2: stderr) to `target` while the context is open.

    Other threads' output goes the same way meanwhile.
    """
    _one_at_a_time.acquire()
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    try:
        with ExitStack() as stack, open(target, "a", encoding="utf-8") as stream:
            for descriptor in descriptors:
                os.dup2(stream.fileno(), descriptor)
                stack.enter_context((redirect_stdout if descriptor == 1 else redirect_stderr)(stream))
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in saved.items():
            os.dup2(original, descriptor)
            os.close(original)
        _one_at_a_time.release()


@contextmanager
def muted() -> Iterator[None]:
    """Silence stderr: runtimes greet there on every load."""
    with redirected(Path(os.devnull), 2):
        yield
