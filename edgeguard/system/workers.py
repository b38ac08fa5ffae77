"""Worker processes that end with the process that started them, however that one ends, or when it says so."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pipe, get_context, parent_process
from multiprocessing.connection import Connection, wait


class WorkerPool(ProcessPoolExecutor):
    """Fresh processes; spawned, because a fork of a process with threads (torch, XNNPACK) can hang.

    Args:
        count: processes; one for each core that this process may use by default.
        prepare: runs once in each.

    Example:
        >>> with WorkerPool(2) as pool:   # doctest: +SKIP
        ...     list(pool.map(abs, [-1, 2]))
        [1, 2]
    """

    def __init__(self, count: int | None = None, prepare: Callable[[], None] | None = None) -> None:
        # Nothing is ever sent: each worker holds one end and ends when the other one is closed.
        self._told, self._line = Pipe(duplex=False)
        super().__init__(
            count or len(os.sched_getaffinity(0)),
            get_context("spawn"),
            initializer=_begin,
            initargs=(self._told, prepare),
        )

    def end_now(self) -> None:
        """End the workers in the middle of their jobs (`shutdown` waits for those), and wait until they are gone.

        What was submitted and is not done fails with `BrokenProcessPool`, or is cancelled.
        """
        self._line.close()
        self.shutdown(wait=True, cancel_futures=True)


def worker_pool(count: int | None = None, prepare: Callable[[], None] | None = None) -> WorkerPool:
    """See `WorkerPool`."""
    return WorkerPool(count, prepare)


def single_thread_opencv() -> None:
    """Worker processes share the cores; OpenCV must not take them all in each."""
    import cv2

    cv2.setNumThreads(1)


def _begin(told: Connection, prepare: Callable[[], None] | None) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_when_told, args=(told,), name="edgeguard-parent-watch", daemon=True).start()
    if prepare is not None:
        prepare()


def _end_when_told(told: Connection) -> None:
    """A pool's worker waits forever on its queue when its parent is killed: it holds the other end itself."""
    parent = parent_process()
    wait([told] if parent is None else [told, parent.sentinel])
    os._exit(1)
