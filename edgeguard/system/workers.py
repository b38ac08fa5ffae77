"""Worker processes that end with the process that started them, however that one ends."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def worker_pool(count: int | None = None, prepare: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """A pool of fresh processes; spawned, because a fork of a process with threads (torch, XNNPACK) can hang.

    Args:
        count: processes; one for each core that this process may use by default.
        prepare: runs once in each.

    Example:
        >>> with worker_pool(2) as pool:   # doctest: +SKIP
        ...     list(pool.map(abs, [-1, 2]))
        [1, 2]
    """
    return ProcessPoolExecutor(
        count or len(os.sched_getaffinity(0)), get_context("spawn"), initializer=_begin, initargs=(prepare,)
    )


def single_thread_opencv() -> None:
    """Worker processes share the cores; OpenCV must not take them all in each."""
    import cv2

    cv2.setNumThreads(1)


def _begin(prepare: Callable[[], None] | None) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, name="edgeguard-parent-watch", daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    """A pool's worker waits forever on its queue when its parent is killed: it holds the other end itself."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
