"""A filter of system calls: what Landlock says nothing about.

Landlock guards the contents and names of files. It leaves permissions, owners and times of files, sockets of other
families than TCP, signals (before version 6), objects of System V (which are reached by their numbers), the priorities
of other processes, what happens in folders (inotify) and asynchronous input and output. A filter closes those, and
keeps a process the only one.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000  # the second numbering of x86-64, which would walk past every comparison

#: Calls that are refused, for machines as `platform.machine` names them. None of them is needed to load a model.
_NEWER = {
    "io_uring": (425, 426, 427),
    "mounts": (428, 429, 430, 431, 432, 433, 442),
    "other processes": (424, 438, 440, 448),  # pidfd_send_signal, pidfd_getfd, process_madvise, process_mrelease
    "permissions": (452, 463, 466),  # fchmodat2, setxattrat, removexattrat
}
_REFUSED = {
    "x86_64": {
        **_NEWER,
        "sockets": (41, 42, 43, 44, 49, 50, 288),
        "permissions and owners": (90, 91, 92, 93, 94, 260, 268),
        "attributes and times": (188, 189, 190, 197, 198, 199, 132, 235, 261, 280),
        "names": (76, 133, 161, 259, 303, 304),  # truncate, mknod, chroot, mknodat, handles
        "signals and tracing": (101, 129, 200, 297, 310, 311, 312),
        "groups": (109, 112),
        "memory, queues and semaphores of others": (29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240, 241),
        "priorities": (141, 251),
        "memory that is no process's": (319, 447),  # memfd_create, memfd_secret
        "what happens in folders, and in the kernel": (253, 254, 294, 103),
        "the system": (
            *(155, 163, 164, 165, 166, 167, 168, 169, 170, 171, 175, 176, 179, 227, 246, 248, 249, 250, 272),
            *(298, 300, 305, 308, 313, 320, 321, 323),
        ),
    },
    "aarch64": {
        **_NEWER,
        "sockets": (198, 200, 201, 202, 203, 206, 242),
        "permissions and owners": (52, 53, 54, 55),
        "attributes and times": (5, 6, 7, 14, 15, 16, 88),
        "names": (33, 45, 51, 264, 265),
        "signals and tracing": (117, 130, 138, 240, 270, 271, 272),
        "groups": (154, 157),
        "memory, queues and semaphores of others": (180, 181, *range(186, 197)),
        "priorities": (140, 30),
        "memory that is no process's": (279, 447),
        "what happens in folders, and in the kernel": (26, 27, 116),
        "the system": (
            *(39, 40, 41, 60, 89, 97, 104, 105, 106, 112, 142, 161, 162, 170, 217, 218, 219, 224, 225, 241, 262),
            *(266, 268, 273, 280, 282, 294),
        ),
    },
}
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_TO_ITSELF = {"x86_64": (62, 234), "aarch64": (129, 131)}  # kill, tgkill
#: Calls whose first argument is a process, 0 for the own one: its limits, schedule, processors and memory.
_OF_ITSELF = {"x86_64": (302, 142, 144, 203, 314, 256, 279), "aarch64": (261, 118, 119, 122, 274, 238, 239)}
_CONTROL = {"x86_64": 72, "aarch64": 25}  # fcntl
_OWNERS = (8, 15, 10)  # F_SETOWN, F_SETOWN_EX, F_SETSIG: whom the kernel signals, and how, when a pipe has something
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_PROCESSES = {"x86_64": (57, 58, 59, 322), "aarch64": (221, 281)}  # fork, vfork, execve, execveat


def filter_calls(*, processes: bool = False) -> bool:
    """Refuse this process, and what it starts, calls that reach other processes, sockets or the system.

    It cannot be taken back. The process must have one thread only.

    Args:
        processes: it may start others; False keeps it the only one (it may have threads).

    Returns:
        True when the filter is in place; False on a machine or a kernel for which there is none.
    """
    machine = platform.machine()
    if machine not in _AUDIT or struct.calcsize("P") != 8:
        return False
    program = b"".join(_program(machine, os.getpid(), processes))
    code = ctypes.create_string_buffer(program)
    filter_of = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return int(prctl(_PR_SET_SECCOMP, _MODE_FILTER, filter_of, 0, 0)) == 0


def _program(machine: str, process: int, processes: bool) -> Iterable[bytes]:
    """The filter in the kernel's own little language, one instruction after another."""
    yield _instruction(_LOAD, 4)
    yield _instruction(_JUMP_EQUAL, _AUDIT[machine], yes=1)
    yield _instruction(_RETURN, _KILL)  # a call of another architecture: its numbers mean something else
    yield _instruction(_LOAD, 0)
    if machine == "x86_64":
        yield _instruction(_JUMP_AT_LEAST, _X32, no=1)
        yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)
    refused = [number for numbers in _REFUSED[machine].values() for number in numbers]
    if not processes:
        refused += _PROCESSES[machine]
        yield from _unless(_CLONE[machine], _JUMP_BITS, _CLONE_THREAD)
        yield from _refuse(_CLONE3, errno.ENOSYS)  # its flags lie in memory; the C library then takes clone
        for number in _TO_ITSELF[machine]:
            yield from _unless(number, _JUMP_EQUAL, process)
    for number in refused:
        yield from _refuse(number, errno.EPERM)
    for number in _OF_ITSELF[machine]:
        yield from _unless(number, _JUMP_EQUAL, 0)
    yield from _refuse_owners(_CONTROL[machine])
    yield _instruction(_RETURN, _ALLOW)


def _refuse(number: int, code: int) -> Iterable[bytes]:
    yield _instruction(_JUMP_EQUAL, number, no=1)
    yield _instruction(_RETURN, _ERRNO | code)


def _unless(number: int, test: int, value: int) -> Iterable[bytes]:
    """Refuse a call unless its first argument passes a test."""
    yield _instruction(_JUMP_EQUAL, number, no=4)
    yield _instruction(_LOAD, 16)  # the low half of the first argument
    yield _instruction(test, value, no=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _ERRNO | errno.EPERM)


def _refuse_owners(number: int) -> Iterable[bytes]:
    yield _instruction(_JUMP_EQUAL, number, no=3 + len(_OWNERS))
    yield _instruction(_LOAD, 24)  # the low half of the second argument
    for place, command in enumerate(_OWNERS):
        yield _instruction(_JUMP_EQUAL, command, yes=len(_OWNERS) - place)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _ERRNO | errno.EPERM)


def _instruction(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
