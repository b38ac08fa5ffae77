"""Lines on stderr: those of a command, and what the library logs while it runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PACKAGES = ("edgeguard", "edgeguard_converters")


def on_stderr(line: str) -> None:
    """A line for the user, under the program's name; from any thread."""
    print(f"edgeguard: {line}", file=sys.stderr, flush=True)


@contextmanager
def messages_to(show: Callable[[str], None]) -> Iterator[None]:
    """Give what our packages log (from level INFO on) to `show`, a line each, while the context is open.

    One inside another takes over until it closes.
    """
    import logging  # commands that only print need not wait for it

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            show(self.format(record))

    lines = Lines()
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [lines]
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
