"""What processes and folders take now."""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGESIZE")


def memory_bytes(session: int, *, alone: bool) -> int:
    """Memory in use by a process, or by all of its session.

    Args:
        session: the number of the process that leads the session.
        alone: it has no others: only itself is looked at.

    Returns:
        Bytes; 0 for a process that is gone.

    Example:
        >>> memory_bytes(os.getpid(), alone=True) > 1_000_000
        True
    """
    if alone:
        return _resident(str(session))
    return sum(_resident(name) for name in os.listdir("/proc") if name.isdecimal() and _session(name) == session)  # noqa: PTH208


def folder_bytes(folder: Path) -> int:
    """Bytes that the files below a folder hold; what vanishes meanwhile does not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _resident(process: str) -> int:
    try:
        return int(Path("/proc", process, "statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _session(process: str) -> int:
    try:
        return int(Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError, ValueError):
        return 0
