"""All that commands print, in one place: no control character of a name, a label or a peer reaches the terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from edgeguard.system.terminal import write_lines

_PACKAGES = ("edgeguard", "edgeguard_converters")
_LONGEST, _END = 2000, 400  # characters of a line on stderr, and of its end where it is longer


def on_stdout(*lines: str) -> None:
    """Lines of a result; each argument is one, whatever it holds.

    Raises:
        BrokenPipeError: the reader went away.
    """
    write_lines(sys.stdout, lines)


def on_stderr(line: str) -> None:
    """A line for the user, under the program's name; from any thread. What a file says in it may be of any length."""
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST - _END]} ... {line[-_END:]}"  # messages end with what to do
    beside_results(f"edgeguard: {line}")


def beside_results(*lines: str) -> None:
    """Lines on stderr as they are. Where nobody can be told (a full disk, a closed pipe), nobody is."""
    with suppress(OSError, ValueError):
        write_lines(sys.stderr, lines)


def quiet_libraries() -> None:
    """Warnings of libraries are for those who write programs: here and in child processes nobody shows them.

    Whoever sets Python's own switch (`-W`, PYTHONWARNINGS) sees them all the same.
    """
    import warnings

    if sys.warnoptions or os.environ.get("PYTHONWARNINGS"):
        return
    os.environ["PYTHONWARNINGS"] = "ignore"
    warnings.simplefilter("ignore")
    warnings.showwarning = lambda *said, **more: None  # some libraries set filters of their own


@contextmanager
def messages_to(show: Callable[[str], None]) -> Iterator[None]:
    """Give what our packages log (from level INFO on) to `show`, a line each, while the context is open.

    One inside another takes over until it closes. Handlers that libraries put on the root logger get none of it: some
    print to a stream that is closed, which would end in a traceback on the terminal.
    """
    import logging  # commands that only print need not wait for it

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            show(self.format(record))

    lines = Lines()
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    last_resort, logging.lastResort = logging.lastResort, logging.NullHandler()  # what other packages log
    for logger in loggers:
        logger.handlers[:] = [lines]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        logging.lastResort = last_resort
        for logger, level, handlers, propagate in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate
