"""Progress: a line that changes on a terminal; in a pipe a line every half minute, so that nothing looks hung."""

import sys
import time
from contextlib import ExitStack, suppress
from threading import Event, Thread
from typing import Self

from edgeguard.cli.messages import messages_to, on_stderr
from edgeguard.system.terminal import printable

_WIDTH = 24
_EVERY_S = 30.0


class Pulse:
    """Says in a pipe, every half minute, what is going on; nothing where stderr is a terminal.

    Example:
        >>> with Pulse() as pulse:
        ...     pulse.going_on("calibrating and quantising")
    """

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._what, self._since = "", 0.0
        self._ended = Event()
        self._thread = Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        if not sys.stderr.isatty():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.0)  # a pipe that nobody reads may hold it

    def going_on(self, what: str, *, since: float | None = None) -> None:
        """What is going on now, since a time of `time.monotonic()` (now where nothing is said)."""
        self._what, self._since = what, time.monotonic() if since is None else since

    def _beat(self) -> None:
        while not self._ended.wait(self._every_s):
            if self._what:
                minutes, seconds = divmod(int(time.monotonic() - self._since), 60)
                on_stderr(f"{self._what} (for {minutes} min {seconds} s)" if minutes else f"{self._what} ({seconds} s)")


class StepDisplay:
    """One line on stderr that shows which of a known number of steps is running; in a pipe see `Pulse`.

    While it is open, what the library logs is shown above it.

    Example:
        >>> with StepDisplay(2) as display:
        ...     display.step("first")
        ...     display.step("second")
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self._shown = sys.stderr.isatty()
        self._name = ""
        self._open = ExitStack()
        self._pulse = Pulse()

    def __enter__(self) -> Self:
        self._open.enter_context(messages_to(self.say))
        self._open.enter_context(self._pulse)
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        self._open.close()

    def step(self, name: str) -> None:
        """The next step begins."""
        self._name = name
        self._pulse.going_on(name)
        self._draw()
        self._done += 1

    def say(self, line: str) -> None:
        """A line that stays, above the progress."""
        self._clear()
        on_stderr(line)
        if self._name:
            self._draw()

    def _draw(self) -> None:
        if self._shown:
            filled = min(_WIDTH * self._done // self._steps, _WIDTH)
            bar = "#" * filled + "." * (_WIDTH - filled)
            _redraw(f"[{bar}] {self._name}")

    def _clear(self) -> None:
        if self._shown:
            _redraw("")


class _Line:
    """One line on stderr that is written again and again, where that is a terminal, and lines that stay.

    While it is open, what the library logs stays above it.
    """

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(messages_to(self.say))
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")
        self._open.close()

    def say(self, line: str) -> None:
        """A line that stays; from any thread."""
        self._write("")
        on_stderr(line)

    def _write(self, text: str) -> None:
        if self._shown:
            _redraw(text)


def _redraw(text: str) -> None:
    """The terminal's last line; the only place that steers it."""
    with suppress(OSError, ValueError):
        print(f"\r\x1b[K{printable(text)}", end="", file=sys.stderr, flush=True)


class FrameCounter(_Line):
    """A running count of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None  # of a source that has an end

    def show(self, frames: int) -> None:
        """Show the count."""
        self._write(f"{frames}{'' if self.total is None else f' of {self.total}'} frames")


class UnitCounter(_Line):
    """Units of long work with an estimate of the time that is left; in a pipe see `Pulse`."""

    def __init__(self) -> None:
        super().__init__()
        self._pulse = Pulse()
        self._what, self._began, self._first = "", 0.0, 0
        self._in_all = ""

    def __enter__(self) -> Self:
        self._open.enter_context(self._pulse)
        return super().__enter__()

    def left(self, seconds: float) -> None:
        """How long everything will take from now on."""
        self._in_all = f", about {seconds / 60:.0f} min in all" if seconds >= 60 else ""

    def show(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units of `what`; a note may change with each, without the estimate beginning anew."""
        if what != self._what:
            self._what, self._began, self._first = what, time.monotonic(), done
        new = done - self._first
        left = f", {(time.monotonic() - self._began) / new * (total - done):.0f} s left" if new else ""
        text = f"{what}: {done} of {total}{left}{self._in_all}{note and f'; {note}'}"
        self._pulse.going_on(text, since=self._began)
        self._write(text)
