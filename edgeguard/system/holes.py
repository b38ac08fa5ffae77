"""How much of a file is data: a terabyte of holes costs its maker nothing."""

import errno
import os

_BLOCK = 512  # bytes that the system counts files in
_MOST_PIECES = 10_000  # that are looked through; the rest counts as data


def may_have_holes(about: os.stat_result) -> bool:
    """Whether the system counts fewer blocks than a file's bytes need."""
    return about.st_blocks * _BLOCK < about.st_size


def bytes_of_data(descriptor: int, about: os.stat_result) -> int:
    """Bytes of an open file that are no hole; all of them where the file system does not tell.

    The count of blocks alone is not enough: some file systems have none, or are late with it, and would make holes of
    good files. It only says where to look.

    Args:
        descriptor: of the file; its position moves.
        about: what the system says of it.

    Example:
        >>> with open(__file__, "rb") as file:
        ...     bytes_of_data(file.fileno(), os.fstat(file.fileno())) > 500
        True
    """
    if not may_have_holes(about):
        return about.st_size
    found, end = 0, 0
    try:
        for _ in range(_MOST_PIECES):
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
            found += end - start
    except OSError as error:
        return found if error.errno == errno.ENXIO else about.st_size  # ENXIO: no data follow
    return found + about.st_size - end
