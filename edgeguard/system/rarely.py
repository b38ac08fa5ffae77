"""Warnings about what repeats: one line a kind a minute, so that nobody else decides how much a log grows."""

import logging
import time


class Rarely:
    """Warns at most once a minute of each kind.

    Args:
        log: where to.
        every_s: the least time between two lines of a kind.
    """

    def __init__(self, log: logging.Logger, every_s: float = 60.0) -> None:
        self._log, self._every_s = log, every_s
        self._next: dict[str, float] = {}

    def warn(self, kind: str, line: str) -> None:
        """Say a line, unless one of its kind was said within the minute.

        Args:
            kind: one of a few fixed words; never a stranger's.
            line: with what is known this time.
        """
        now = time.monotonic()
        if now >= self._next.get(kind, now):
            self._next[kind] = now + self._every_s
            self._log.warning("%s", line)
