"""What processes and folders take now."""

import os
import stat
from pathlib import Path

_PAGE, _BLOCK = os.sysconf("SC_PAGESIZE"), 512
_SMALLEST = 1 << 16


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
    return sum(map(_resident, _processes(session, alone)))


def folder_bytes(folder: Path, most: int) -> int:
    """What the files below a folder take: each what it holds, and 64 KiB at least, since empty ones take room as well.

    What vanishes meanwhile does not count, and counting ends above `most`.
    """
    total = 0
    for place, folders, names in os.walk(folder):
        total += _SMALLEST * len(folders)
        for name in names:
            try:
                total += max(os.lstat(Path(place, name)).st_blocks * _BLOCK, _SMALLEST)
            except OSError:
                continue
            if total > most:
                return total
    return total


def nameless_bytes(session: int, *, alone: bool) -> int:
    """What files hold that a process has open and that have no name any more: no folder shows them.

    Args:
        session, alone: as in `memory_bytes`.
    """
    found: dict[tuple[int, int], int] = {}
    for process in _processes(session, alone):
        for descriptor in _names(f"/proc/{process}/fd"):
            try:
                about = Path(f"/proc/{process}/fd/{descriptor}").stat()
            except OSError:
                continue
            if about.st_nlink == 0 and stat.S_ISREG(about.st_mode):
                found[about.st_dev, about.st_ino] = about.st_blocks * _BLOCK
    return sum(found.values())


def written_bytes(session: int, *, alone: bool) -> int:
    """What a process has written to disks since it began, also into files that it removed; 0 where nobody counts.

    Args:
        session, alone: as in `memory_bytes`.
    """
    return sum(map(_written, _processes(session, alone)))


def _processes(session: int, alone: bool) -> list[str]:
    if alone:
        return [str(session)]
    return [name for name in _names("/proc") if name.isdecimal() and _session(name) == session]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are enough
    except OSError:
        return []


def _written(process: str) -> int:
    try:
        lines = Path("/proc", process, "io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("write_bytes:")).partition(":")[2])
    except (OSError, StopIteration, ValueError):
        return 0


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
