"""Giving freed memory back to the system: glibc keeps what exporters freed, 50 to 100 MB at a time."""

import ctypes
import gc


def give_back_memory() -> None:
    """Collect garbage and let glibc return free pages; nothing on other C libraries."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
