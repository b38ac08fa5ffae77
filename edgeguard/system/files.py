"""Writing files so that a crash or a full disk never leaves half of one behind."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.errors import DeviceError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed over `path`.

    The temporary name keeps the suffix of `path`, because some writers choose a format by it.

    Raises:
        DeviceError: when the folder cannot be written or the disk is full; `path` is then untouched.

    Example:
        >>> with replaced(Path("out.json")) as partial:
        ...     _ = partial.write_text("{}")
    """
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        partial = Path(name)
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`: all of it or nothing."""
    with replaced(path) as partial:
        partial.write_bytes(data)


def check_writable(path: Path) -> None:
    """Say before long work begins that a file cannot be written afterwards.

    Raises:
        DeviceError: its folder is not there, or may not be written.
    """
    folder = path.parent
    if not folder.is_dir():
        raise DeviceError(f"cannot write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise DeviceError(f"cannot write {path}: no permission to write in {folder}")


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
