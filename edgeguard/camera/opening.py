"""What an attempt to open a camera holds, so that it can be ended while a constructor still waits for the camera."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar["Attempt | None"] = ContextVar("edgeguard_opening", default=None)


class Attempt:
    """One attempt, in a thread of its own; `close` may come from any other one, at any time."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] | None = []
        self._lock = threading.Lock()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What is opened inside, in this thread, can be closed from outside until it is whole."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def add(self, end: Callable[[], None]) -> None:
        """Something to be called by `close`; at once, if that was."""
        with self._lock:
            if self._ends is not None:
                self._ends.append(end)
                return
        end()

    def close(self) -> None:
        """End what the attempt waits for."""
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            end()


def ends_with_the_attempt(end: Callable[[], None]) -> None:
    """Register what shuts a connection down, if an attempt is going on in this thread. It must not wait."""
    attempt = _current.get()
    if attempt is not None:
        attempt.add(end)
