"""SIGTERM: a clean end where that is possible, and an end in any case."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
