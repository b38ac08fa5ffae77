"""Progress on a terminal; nothing of it in a pipe."""

import sys
import time
from typing import Self

_WIDTH = 24


class StepDisplay:
    """One line on stderr that shows which of a known number of steps is running; only where stderr is a terminal.

    Example:
        >>> with StepDisplay(2) as display:
        ...     display.step("first")
        ...     display.step("second")
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self._shown = sys.stderr.isatty()
        self._name = ""

    def __enter__(self) -> "StepDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def step(self, name: str) -> None:
        """The next step begins."""
        self._name = name
        self._draw()
        self._done += 1

    def say(self, line: str) -> None:
        """A line that stays, above the progress."""
        self._clear()
        print(f"edgeguard: {line}", file=sys.stderr, flush=True)
        if self._name:
            self._draw()

    def _draw(self) -> None:
        if self._shown:
            filled = min(_WIDTH * self._done // self._steps, _WIDTH)
            bar = "#" * filled + "." * (_WIDTH - filled)
            print(f"\r\x1b[K[{bar}] {self._name}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class _Line:
    """One line on stderr that is written again and again, where that is a terminal, and lines that stay."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def say(self, line: str) -> None:
        """A line that stays; from any thread."""
        self._write("")
        print(f"edgeguard: {line}", file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


class FrameCounter(_Line):
    """A running count of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None  # of a source that has an end

    def show(self, frames: int) -> None:
        """Show the count."""
        self._write(f"{frames}{'' if self.total is None else f' of {self.total}'} frames")


class UnitCounter(_Line):
    """Units of long work with an estimate of the time that is left."""

    def __init__(self) -> None:
        super().__init__()
        self._what, self._began, self._first = "", 0.0, 0

    def show(self, what: str, done: int, total: int) -> None:
        """`done` of `total` units of `what`."""
        if what != self._what:
            self._what, self._began, self._first = what, time.monotonic(), done
        new = done - self._first
        left = f", {(time.monotonic() - self._began) / new * (total - done):.0f} s left" if new else ""
        self._write(f"{what}: {done} of {total}{left}")
