"""What takes results."""

from contextlib import AbstractContextManager
from typing import Protocol

from edgeguard.pipeline.result import FrameResult


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes results; opened by its constructor, closed as a context manager."""

    def write(self, result: FrameResult) -> None:
        """Take one result.

        Raises:
            EdgeGuardError: it cannot.
        """
        ...
