"""What a killed program leaves: files and folders that it held are told from those that somebody still holds by a lock.

The kernel gives a lock (flock) back when its holder ends, however that happens; a process number says less, since
numbers come again and containers have their own.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_FOLDER = re.compile(r"edgeguard-[0-9]+-[0-9a-z_]{8}")
_LONGEST_NAME = 255  # bytes


def hold(path: Path) -> int | None:
    """Hold a new file or folder; the descriptor is to be closed at its end.

    Returns:
        None where somebody cleared it before it was held. A file system without locks gives a descriptor all the same;
        what is left there is not cleared.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # somebody is about to clear it
        os.close(descriptor)
        return None
    except OSError:
        return descriptor
    if os.fstat(descriptor).st_nlink == 0 or not path.exists():
        os.close(descriptor)
        return None
    return descriptor


def new_held_folder() -> tuple[Path, int]:
    """A private temporary folder that names this process, and the descriptor that holds it (see `hold`).

    Those of processes that were killed are cleared first: each new one clears, so that none piles up.
    """
    clear_folders(Path(tempfile.gettempdir()), _FOLDER)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"edgeguard-{os.getpid()}-"))
        held = hold(folder)
        if held is not None:
            return folder, held


def partial_name(stem: str, mark: str, suffix: str) -> str:
    """The name of an unfinished file: hidden, with a mark of eight characters, and short enough for a file system.

    Example:
        >>> partial_name("video", "0123abcd", ".mp4"), len(partial_name("v" * 251, "0123abcd", ".mp4"))
        ('.video-0123abcd.mp4', 255)
    """
    room = max(_LONGEST_NAME - len(os.fsencode(f".-{suffix}")) - 8, 0)
    kept = stem if len(os.fsencode(stem)) <= room else os.fsencode(stem)[:room].decode(errors="ignore")
    return f".{kept}-{mark}{suffix}"


def clear_partials(path: Path, *suffixes: str) -> list[str]:
    """Remove the unfinished files beside `path` that a killed program left; returns their names.

    Args:
        path: of the finished file (see `files.replaced`).
        suffixes: of the unfinished ones; by default that of `path`.
    """
    wanted = [partial_name(path.stem, "\0", suffix) for suffix in suffixes or (path.suffix,)]
    pattern = re.compile("|".join(re.escape(one).replace(re.escape("\0"), "[0-9a-f]{8}") for one in wanted))
    return _cleared([entry for entry in _entries(path.parent) if pattern.fullmatch(entry.name)])


def clear_all_partials(folder: Path) -> list[str]:
    """The same for the files of any name in a folder of our own."""
    pattern = re.compile(r"\..*-[0-9a-f]{8}(\.[0-9A-Za-z]+)?")
    return _cleared([entry for entry in _entries(folder) if pattern.fullmatch(entry.name) and entry.is_file()])


def clear_folders(parent: Path, name: re.Pattern[str]) -> list[str]:
    """Remove our own folders of such a name that nobody holds any more."""
    found = [entry for entry in _entries(parent) if name.fullmatch(entry.name)]
    mine = [e for e in found if e.is_dir() and not e.is_symlink() and e.stat().st_uid == os.geteuid()]
    return _cleared(mine, folders=True)


def clear_folder(path: Path) -> bool:
    """Remove a folder that nobody holds; returns whether it is gone."""
    _cleared([path], folders=True)
    return not os.path.lexists(path)


def clear_empty(parent: Path, name: re.Pattern[str]) -> list[str]:
    """Remove our own empty files of such a name that nobody holds any more."""
    mine = []
    for entry in _entries(parent):
        if name.fullmatch(entry.name):
            with suppress(OSError):  # another one cleared it
                about = entry.lstat()
                if stat.S_ISREG(about.st_mode) and about.st_size == 0 and about.st_uid == os.geteuid():
                    mine.append(entry)
    return _cleared(mine)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _cleared(paths: list[Path], *, folders: bool = False) -> list[str]:
    """Remove plain files (or folders) that nobody holds. Others are left: to open a pipe would wait for its writer."""
    names = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISDIR(mode) if folders else stat.S_ISREG(mode)):
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folders:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
            names.append(path.name)
        except OSError:
            pass  # held, or cleared by another one
        finally:
            os.close(descriptor)
    return names
