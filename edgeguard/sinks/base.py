"""What takes results."""

from contextlib import AbstractContextManager
from typing import Protocol

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult


class Undelivered(DeviceError):
    """A result did not reach its receiver; the sink itself goes on and needs not to be opened again."""


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes results; opened by its constructor, closed as a context manager."""

    def write(self, result: FrameResult) -> None:
        """Take one result.

        Raises:
            EdgeGuardError: it cannot.
        """
        ...
