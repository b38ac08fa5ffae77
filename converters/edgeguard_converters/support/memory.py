"""Giving freed memory back to the system: glibc keeps what exporters freed, 50 to 100 MB at a time."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def give_back_memory() -> None:
    """Collect garbage and let glibc return free pages; nothing on other C libraries."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


@contextmanager
def keep_little() -> Iterator[None]:
    """Inside, glibc gives back what is freed at once, which makes runs of a model slower. Nothing elsewhere."""
    _tell_glibc(1 << 16, 1 << 17)
    try:
        yield
    finally:
        _tell_glibc(32 << 20, 64 << 20)  # as it is after large pieces were freed


def _tell_glibc(mapped_bytes: int, kept_bytes: int) -> None:
    """Pieces from which on memory is mapped by itself; what may stay free at the end of the heap."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, mapped_bytes)
        library.mallopt(_M_TRIM_THRESHOLD, kept_bytes)
