"""Giving freed memory back to the system: glibc keeps what exporters freed, 50 to 100 MB at a time."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def give_back_memory() -> None:
    """Collect garbage and let glibc return free pages; nothing on other C libraries."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def keep_little() -> None:
    """From here on let glibc give back what is freed at once; runs of a model are slower then. Nothing elsewhere."""
    try:
        library = ctypes.CDLL(None)
        for parameter, value in ((_M_MMAP_THRESHOLD, 1 << 16), (_M_TRIM_THRESHOLD, 1 << 17)):
            library.mallopt(parameter, value)
    except (OSError, AttributeError):
        return
