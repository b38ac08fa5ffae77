"""The end of a process: clean on SIGTERM where that is possible, in any case an end, and never an abort."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

#: Seconds for a clean end. systemd waits for 20 before it kills.
CLEAN_END_S = 8.0
_FORCED = 3  # what did not end is a device, the network or a disk


@contextmanager
def clean_end_on_sigterm(seconds: float = CLEAN_END_S) -> Iterator[None]:
    """Raise `SystemExit(0)` in the main thread on SIGTERM while the context is open; end the process after `seconds`.

    Python calls a signal's handler between two of its own steps only. Native code that does not return, and a clean end
    that waits for a lost disk, would keep the process for ever; a thread sees the signal whatever the main thread does.
    To be used in the main thread.

    Args:
        seconds: from the signal to the end that nothing can stop.
    """
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    wakeup = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, _raise_system_exit)
    heard = threading.Event()
    thread = threading.Thread(target=_watch, args=(ear, seconds, heard), name="edgeguard-sigterm", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        if not heard.is_set():  # after the signal the thread stays: the interpreter's own end can hang as well
            signal.signal(signal.SIGTERM, handler)
        os.close(mouth)
        if not heard.is_set():
            thread.join(1)


def end_beside_threads(run: Callable[[], NoReturn]) -> NoReturn:
    """Run what ends by `SystemExit`, and end the process with that code, also beside threads in native code.

    Python ends the daemon threads that are left when they come back from native code, by unwinding their stacks. C++
    code that lets nobody unwind it (OpenCV's) then aborts the whole process: SIGABRT instead of the exit code. So where
    such threads are left, the process ends before, after all that other modules do at its end.
    """
    ending = _Ending()
    atexit.register(ending)
    try:
        run()
    except SystemExit as end:
        ending.code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        raise


class _Ending:
    """Called by `atexit`, after what was registered later."""

    code = 1  # of an exception that nobody caught

    def __call__(self) -> None:
        if any(thread.daemon for thread in threading.enumerate()):
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            os._exit(self.code)


def _raise_system_exit(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clean end short
    raise SystemExit(0)


def _watch(ear: int, seconds: float, heard: threading.Event) -> None:
    """Wait for the signal's byte; the end of the pipe is the end of the context."""
    try:
        while signal.SIGTERM not in (found := os.read(ear, 64)):
            if not found:
                return
    finally:
        os.close(ear)
    heard.set()
    threading.Event().wait(seconds)
    os.write(2, f"edgeguard: SIGTERM: no clean end within {seconds:g} s, so it ends now\n".encode())
    os._exit(_FORCED)
