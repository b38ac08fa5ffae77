"""The border to bytes that somebody else wrote: how much of a file is read, and what a failure to parse it becomes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.errors import EdgeGuardError, InputError

#: A frame with more pixels than this is refused (64 megapixels: 192 MB decoded).
MAX_PIXELS = 1 << 26
_SHOWN = 160


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes one `InputError`: a file can break a parser, and that is no bug of ours.

    Our own errors, the system's (`OSError`) and memory that ran out go through as they are.

    Args:
        what: the bytes are, to begin the line with.

    Example:
        >>> with parsing("the label file"):
        ...     int("seven")
        Traceback (most recent call last):
        edgeguard.errors.InputError: the label file is damaged: invalid literal for int() with base 10: 'seven'
    """
    try:
        yield
    except (EdgeGuardError, OSError, MemoryError):
        raise
    except RecursionError as error:
        raise InputError(f"{what} is damaged: its parts are nested too deeply") from error
    except Exception as error:
        raise InputError(f"{what} is damaged: {_reason(error)}") from error


def read_bounded(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """The bytes of a file, of at most `limit`; more is refused before it is in memory.

    Args:
        path: a file. A device that never ends is refused at the limit.
        limit: bytes.
        what: the file is, for the message.

    Raises:
        InputError: it cannot be read, or it is larger.
    """
    try:
        with open(Path(path), "rb") as stream:
            if os.fstat(stream.fileno()).st_size > limit:
                raise InputError(f"{what} {path} is larger than {limit >> 20} MiB")
            data = stream.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {what}: {error}") from error
    if len(data) > limit:
        raise InputError(f"{what} {path} is larger than {limit >> 20} MiB")
    return data


def _reason(error: Exception) -> str:
    """One short line of printable characters."""
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
