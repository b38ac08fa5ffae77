"""What a conversion has to tell its user: logged at once, and kept for the result."""

import logging

_log = logging.getLogger(__name__)


class Notes:
    """Lines that a user has to know.

    Example:
        >>> notes = Notes()
        >>> notes.add("2 filters are all zero")
        >>> notes.lines
        ['2 filters are all zero']
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Log a line and keep it; a second time it is not said."""
        if line in self.lines:
            return
        self.lines.append(line)
        _log.warning("%s", line)
