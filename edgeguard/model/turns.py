"""One graph for several threads: they take turns, first come first served."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.watched import Runner


class Turns:
    """Whoever comes first has the next turn. A thread that wants another turn stands behind all who wait.

    Example:
        >>> with Turns().turn() as waited_s:
        ...     waited_s < 1
        True
    """

    def __init__(self) -> None:
        self._drawn = self._called = 0
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Have a turn; gives the seconds that it was waited for."""
        began = time.perf_counter()
        with self._changed:
            mine, self._drawn = self._drawn, self._drawn + 1
            self._changed.wait_for(lambda: self._called == mine)
        try:
            yield time.perf_counter() - began
        finally:
            with self._changed:
                self._called += 1
                self._changed.notify_all()


class TurnRunner:
    """A runner that waits for its turn; one for each thread.

    Attributes:
        waited_s: for the last turn.
    """

    def __init__(self, runner: Runner, turns: Turns) -> None:
        self._runner, self._turns, self.waited_s = runner, turns, 0.0
        self.inputs, self.outputs = runner.inputs, runner.outputs

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """As the runner does."""
        with self._turns.turn() as self.waited_s:
            return self._runner.run(tensor)

    def run_raw(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """As the runner does."""
        with self._turns.turn() as self.waited_s:
            return self._runner.run_raw(tensor)
