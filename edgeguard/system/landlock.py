"""Landlock: the kernel refuses this process, and what it starts, all files but those that are listed.

The kernel's own interface through ctypes: the C library has no functions for it, and it is three calls.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = (1 << bit for bit in range(13, 16))
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_FIRST = (1 << 13) - 1
_READ = _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # all that a rule on a file may name
_PRIVATE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_TCP = 0b11  # bind and connect, since 4
_SCOPES = 0b11  # abstract sockets and signals of processes outside, since 6


def landlock_version() -> int:
    """The version of Landlock's interface that this kernel gives; 0: none.

    Example:
        >>> landlock_version() >= 0
        True
    """
    found = _syscall(_CREATE_RULESET, None, 0, _VERSION)
    return max(found, 0)


def restrict_files(
    *,
    readable: Iterable[Path],
    writable: Iterable[Path],
    private: Path | None,
    execute: bool = False,
) -> int:
    """Refuse this process all files but the listed ones, and TCP and signals to others where the kernel knows how.

    It cannot be taken back and holds for all that the process starts. The process must have one thread only.

    Args:
        readable: folders (with all below them) and files that may be read; those that are not there are left out.
        writable: files that may be read and written, such as /dev/null.
        private: a folder in which files may be made, written and removed; None: there is none.
        execute: what is readable may be executed too.

    Returns:
        The version of the interface, which tells how much of this holds; 0: nothing does, the kernel has no Landlock.
    """
    version = landlock_version()
    if version == 0:
        return 0
    handled = _FIRST
    for since, right in _SINCE.items():
        handled |= right if version >= since else 0
    fields = (handled, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    attributes = struct.pack("=QQQ", *fields)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _checked(_syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for path in readable:
            _allow(ruleset, path, (_READ | (_EXECUTE if execute else 0)) & handled)
        for path in writable:
            _allow(ruleset, path, (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & handled)
        if private is not None:
            _allow(ruleset, private, _PRIVATE & handled)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))  # packed: no padding in the kernel's
        _checked(_syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(place)


def _syscall(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(library.syscall(ctypes.c_long(number), *wide))


def _checked(answer: int) -> int:
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return answer
