"""The border to bytes that somebody else wrote: how much of a file is read, and what a failure to parse it becomes."""

import errno
import io
import json
import math
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from edgeguard.errors import EdgeGuardError, InputError

#: A frame with more pixels than this is refused (64 megapixels: 192 MB decoded).
MAX_PIXELS = 1 << 26
#: Bytes of a picture's file: that many pixels that are not packed fit.
LARGEST_PICTURE = 256 << 20
#: Bytes of a file of settings (TOML): hundreds of times what any of ours has.
LARGEST_SETTINGS = 1 << 20
_SHOWN = 160
_PIECE = 1 << 20
_WRITER_WITHIN_S, _PIPE_WITHIN_S = 5.0, 60.0  # of a pipe: for a piece, and in all
#: Bytes of memory that JSON may come to, in settings and results, and in what lists all files of a data set.
_MOST_JSON, LARGEST_LIST = 3 << 28, 1 << 32
#: What CPython takes for a character of JSON at most: a dictionary (eight characters with its pair), a list, a value
#: in one, and half of a text.
_TAKES = {"{": 240, "[": 72, ",": 40, '"': 28}
_LARGEST_INTEGER = (1 << 63) - 1
_Typed = TypeVar("_Typed")


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
        path: a file, or a pipe such as a shell's `<(...)`. Devices are refused: some never end, and some can be read
            only once.
        limit: bytes.
        what: the file is, for the message.

    Raises:
        InputError: it cannot be read, it is larger, it is a device, or it is a pipe whose writer keeps us waiting:
            `_WRITER_WITHIN_S` for each piece, `_PIPE_WITHIN_S` in all.
    """
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):  # before it is opened: that alone starts a watchdog
            raise InputError(f"{what} {path} is a device; refused: put a plain file there")
        with open(path, "rb", opener=_without_waiting) as stream:
            found = os.fstat(stream.fileno())
            if found.st_size > limit:
                raise InputError(f"{what} {path} is larger than {_shown(limit)}")
            data = stream.read(found.st_size + 1) if found.st_size else b""
            if len(data) > found.st_size or not found.st_size:  # no size is known, or the file grows
                data = _with_the_rest(data, stream.fileno(), limit)
    except TimeoutError as error:
        raise InputError(f"{what} {path} is a pipe that nobody writes to: put a file there") from error
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {what}: {error}") from error
    if len(data) > limit:
        raise InputError(f"{what} {path} is larger than {_shown(limit)}")
    return data


def _with_the_rest(data: bytes, descriptor: int, limit: int) -> bytes:
    """All that comes, of at most `limit` bytes and one more; kept once, and not a second time to be put together.

    Raises:
        TimeoutError: nothing came, or it came too slowly.
    """
    kept = io.BytesIO()
    left = limit + 1 - kept.write(data)
    waiting, until = select.poll(), time.monotonic() + _PIPE_WITHIN_S
    waiting.register(descriptor, select.POLLIN)
    while left > 0:
        if not waiting.poll(1000 * _WRITER_WITHIN_S) or time.monotonic() > until:
            raise TimeoutError
        piece = os.read(descriptor, min(_PIECE, left))
        if not piece:
            break
        left -= kept.write(piece)
    return kept.getvalue()


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file for `open`; to open a pipe that nobody writes to would wait for ever.

    Raises:
        TimeoutError: nobody wrote to the pipe.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            if not waiting.poll(1000 * _WRITER_WITHIN_S):
                raise TimeoutError
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | os.PathLike[str], limit: int, what: str) -> bytes:
    """As `read_bounded`, of a file in a folder that somebody else packed: no link is followed, no pipe waited for.

    Args:
        path: a regular file.
        limit: bytes.
        what: the file is, for the message.

    Raises:
        InputError: it cannot be read, it is larger, or it is a link, a device, a pipe or a socket.

    Example:
        >>> read_regular("/dev/zero", 1 << 20, "the plan")
        Traceback (most recent call last):
        edgeguard.errors.InputError: the plan /dev/zero is a device, a pipe or a folder; refused: put a plain file there
    """
    with open_regular(path, limit, what) as stream:
        data = stream.read(os.fstat(stream.fileno()).st_size + 1)
    if len(data) > limit:
        raise InputError(f"{what} {path} is larger than {_shown(limit)}")
    return data


@contextmanager
def open_regular(path: str | os.PathLike[str], limit: int, what: str) -> Iterator[BinaryIO]:
    """As `read_regular`, of what is read piece by piece. The file may grow beyond `limit` while it is open.

    Raises:
        InputError: as there, also while it is read.
    """
    try:
        with open(path, "rb", opener=_unfollowed) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{what} {path} is a device, a pipe or a folder; refused: put a plain file there")
            if found.st_size > limit:
                raise InputError(f"{what} {path} is larger than {_shown(limit)}")
            yield stream
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{what} {path} is a link; refused: put the file itself there") from error
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {what}: {error}") from error


def _unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def foreign_json(data: bytes | str, *, with_nan: bool = False, most_bytes: int = _MOST_JSON) -> Any:
    """JSON whose numbers are finite and whose integers have at most 64 bits, so that they can be counted with.

    Args:
        data: the text.
        with_nan: leave the words NaN and Infinity, which Python writes for what a float model may answer.
        most_bytes: of memory that its parts may come to, by their count before they are parsed.

    Raises:
        ValueError: it is no JSON, holds such a number, or has too many parts; for use within `parsing`.

    Example:
        >>> foreign_json(b'{"frames": 5}')
        {'frames': 5}
    """
    if _memory_of(data) > most_bytes:
        raise ValueError("it has too many parts to be read")
    return json.loads(data, parse_int=_integer, parse_float=_finite, parse_constant=float if with_nan else _finite)


def lines_of(data: bytes, most: int = 1 << 20) -> Iterator[bytes]:
    r"""The lines of a file, one after another, without their ends: a list of 60 MB of short ones takes 1.4 GB.

    Args:
        data: of the file.
        most: lines that it may have.

    Raises:
        ValueError: there are more; for use within `parsing`.

    Example:
        >>> list(lines_of(b"a\r\nb"))
        [b'a', b'b']
    """
    for count, line in enumerate(io.BytesIO(data)):
        if count == most:
            raise ValueError(f"it has more than {most} lines")
        yield line.rstrip(b"\r\n")


def _memory_of(text: bytes | str) -> int:
    """Bytes that the parts of JSON take: 33 MB of dictionaries of one pair each are nearly a gigabyte."""
    if isinstance(text, str):
        return len(text) + sum(text.count(mark) * each for mark, each in _TAKES.items())
    return len(text) + sum(text.count(mark.encode()) * each for mark, each in _TAKES.items())


def of_type(kind: type[_Typed], value: object, *, with_nan: bool = False) -> _Typed:
    """Plain data of a stranger as a value of a dataclass (or another type that msgspec knows).

    What is nested, bounded or one of a few words in the type is checked as well. `with_nan` as in `foreign_json`.

    Raises:
        ValueError: it does not fit, or holds a number that `foreign_json` refuses; for use within `parsing`.

    Example:
        >>> of_type(list[int], [5])
        [5]
    """
    from msgspec import convert  # takes a tenth of a start, and --help reads no file

    if not with_nan:
        checked_numbers(value)
    return convert(value, kind)


def checked_numbers(value: object) -> None:
    """Refuse what `foreign_json` refuses, in data that another reader parsed.

    Raises:
        ValueError: a number is not finite, or an integer has more than 64 bits.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, int) and abs(one) > _LARGEST_INTEGER:
            raise ValueError("an integer of more than 64 bits")
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError("a number that is not finite")


def _shown(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"


def _integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _LARGEST_INTEGER:
        raise ValueError(f"{text[:24]} is an integer of more than 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:24]} is no finite number")
    return value


def _reason(error: Exception) -> str:
    """One short line of printable characters."""
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
