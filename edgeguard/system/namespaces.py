"""Namespaces of the kernel: no network, and a file system that is read-only but for one folder."""

import ctypes
import os
import struct
from pathlib import Path

_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
_CAPABILITY_VERSION = 0x20080522


def leave_network() -> bool:
    """Move this process into a network without any interface. It must have one thread only.

    Returns:
        False where the system does not allow it.
    """
    return _unshare(_NEW_NETWORK)


def freeze_files(private: Path | None) -> bool:
    """Make every mounted file system read-only for this process, but for a folder. It must have one thread only.

    Args:
        private: the folder; None: there is none.

    Returns:
        False where the system does not allow it (namespaces are switched off, or the kernel is older than 5.12).
    """
    if not _unshare(_NEW_MOUNTS):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0:
        return False
    if private is None:
        return _set_read_only(b"/", True)
    path = os.fsencode(private)
    if library.mount(path, path, None, _MS_BIND, None) != 0:
        return False
    return _set_read_only(b"/", True) and _set_read_only(path, False)


def drop_capabilities() -> None:
    """Give up the rights of a superuser, those over its own namespaces included."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    nothing = ctypes.create_string_buffer(24)
    ctypes.CDLL(None).capset(header, nothing)


def _unshare(what: int) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(what) == 0:  # a superuser
        return True
    user, group = os.geteuid(), os.getegid()
    if library.unshare(what | _NEW_USER) != 0:
        return False
    try:  # the same user inside: files then look as before
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        pass
    return True


def _set_read_only(path: bytes, on: bool) -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("=QQQQ", _READ_ONLY * on, _READ_ONLY * (not on), 0, 0))
    library = ctypes.CDLL(None, use_errno=True)
    flags = _AT_RECURSIVE if on else 0
    number = ctypes.c_long(_MOUNT_SETATTR)
    return bool(library.syscall(number, ctypes.c_long(_AT_FDCWD), path, ctypes.c_long(flags), attributes, 32) == 0)
