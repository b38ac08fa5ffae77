"""Writing files so that a crash or a full disk never leaves half of one behind."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.leftovers import hold, partial_name

_DEVICES = Path("/dev")
_MOST_HASHED = 16 << 30  # bytes: half a minute


@contextmanager
def replaced(path: Path, *, durable: bool = True, suffix: str | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed over `path`.

    The temporary name keeps the suffix of `path`, because some writers choose a format by it. The file has the
    permissions of any new file (0666 less the umask). It is held while it is written, so that what a killed program
    leaves can be told from it (`leftovers.clear_partials`).

    Args:
        path: the file that is to be there, whole.
        durable: False leaves the fsync out, for many small files: a crash of the program still leaves no half of
            one, a power cut may leave it empty.
        suffix: of the temporary name, where that is another one.

    Raises:
        DeviceError: when the folder cannot be written, the disk is full, or there is a folder, a device, a pipe or
            a socket of that name; `path` is then untouched.

    Example:
        >>> with replaced(Path("out.json")) as partial:
        ...     _ = partial.write_text("{}")
    """
    partial: Path | None = None
    held: int | None = None
    _refuse_device(path)
    try:
        partial, held = _new_file_beside(path, path.suffix if suffix is None else suffix)
        yield partial
        if durable:
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path`: all of it or nothing. `durable` and errors as in `replaced`."""
    with replaced(path, durable=durable) as partial:
        partial.write_bytes(data)


def check_writable(*paths: Path | None) -> None:
    """Say before long work begins that files cannot be written afterwards; None stands for one that is not wanted.

    Raises:
        DeviceError: a folder is not there or may not be written, or something else has the name.
    """
    for path in paths:
        if path is None:
            continue
        _refuse_device(path)
        try:
            if not path.parent.is_dir():
                raise DeviceError(f"cannot write {path}: {path.parent} is not a folder")
            partial, held = _new_file_beside(path, path.suffix)
        except OSError as error:
            raise DeviceError(f"cannot write {path}: {error.strerror}") from error
        partial.unlink(missing_ok=True)
        os.close(held)


def _refuse_device(path: Path) -> None:
    """A file that is renamed over /dev/null takes its place: for every program, where the user may do that. Renamed
    over a link that leads to a folder, it takes the link's."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DeviceError(f"cannot write {path}: it is a folder")
        if not stat.S_ISREG(mode) or path.parent.resolve() == _DEVICES:  # /dev/stdout may lead to a file
            raise DeviceError(f"cannot write {path}: it is a device, a pipe or a socket; name a plain file")
    except (OSError, RuntimeError) as error:  # it is not there, or its links go in a ring: whoever writes it is told
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # the unfinished file's is shorter
            raise DeviceError(f"cannot write {path}: File name too long") from error


def sha256_file(path: Path, *, most_bytes: int = _MOST_HASHED) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: it is no plain file, or is larger than `most_bytes`: holes cost their maker nothing, and are hashed
            byte by byte.
        OSError: it cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is no plain file; refused: put a file there")
    if found.st_size > most_bytes:
        raise InputError(f"{path} is larger than {most_bytes >> 30} GiB")
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _new_file_beside(path: Path, suffix: str) -> tuple[Path, int]:
    """An empty file of a new name, and the descriptor that holds it.

    The kernel takes the umask off its permissions; nobody need ask for it, which would mean to change it for all
    threads.
    """
    while True:
        name = path.parent / partial_name(path.stem, secrets.token_hex(4), suffix)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            continue
        held = hold(name)
        if held is not None:
            return name, held
