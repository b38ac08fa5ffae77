"""A command in a process of its own: when the system kills it, somebody is left to say so and to clear up."""

import os
import signal
import sys

from edgeguard.errors import DeviceError

PREFIX = "edgeguard-"  # of temporary folders; the process's number follows
_LIKE_NO_MEMORY = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
_PR_SET_PDEATHSIG = 1


def in_child(what: str) -> None:
    """Go on in a forked child; the parent ends as the child does and never returns from here.

    To be called before libraries with threads are loaded. Memory that runs out ends a process from outside (the kernel
    kills it) or from within native code (it aborts): neither can be caught where it happens.

    Args:
        what: the command does, for the message.

    Raises:
        DeviceError: in the parent, when the child was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # Ctrl-C comes from the parent alone, and once
        _end_with_parent()
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda heard, frame: os.kill(child, heard))
    _, status = os.waitpid(child, 0)
    _clear_up(child)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        killed = signal.Signals(-code)
        guess = " (out of memory?)" if killed in _LIKE_NO_MEMORY else ""
        raise DeviceError(f"{what} was ended by {killed.name}{guess}: a file appears only when it is finished")
    sys.exit(code)


def _end_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _clear_up(child: int) -> None:
    """Remove what the child's end has left."""
    import shutil
    import tempfile
    from pathlib import Path

    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}{child}-*"):
        shutil.rmtree(left, ignore_errors=True)
