"""Names of files that a file names: below its own folder, or refused."""

import os
import re
import stat
from pathlib import Path

from edgeguard.errors import DeviceError, InputError

_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,512}")
_MOST_BYTES = 1 << 28


def is_plain_name(name: str) -> bool:
    """True for a relative name without `..` that means the same on every system.

    Example:
        >>> is_plain_name("data/weight_0"), is_plain_name("../x"), is_plain_name("/etc/x"), is_plain_name("a//b")
        (True, False, False, False)
    """
    return _NAME.fullmatch(name) is not None and all(part not in ("", ".", "..") for part in name.split("/"))


def utf8_name(folder: Path, name: str) -> str:
    """The name of a file or folder as it is; a report, a table and a terminal can hold it.

    Args:
        folder: that it lies in, for the message.
        name: as the system gives it.

    Raises:
        InputError: its bytes are no UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{folder}: the name {name[:100]!r} is no UTF-8: rename the file") from error
    return name


def utf8_text(what: str, text: str) -> str:
    """A text as it is; JSON in UTF-8 can hold it.

    Args:
        what: it is, for the message.
        text: as the command line or a file gives it.

    Raises:
        InputError: its bytes were no UTF-8.

    Example:
        >>> utf8_text("--licence", "CC BY 4.0")
        'CC BY 4.0'
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {text[:100]!r} is no UTF-8: give a text") from error
    return text


def utf8_path(path: str | Path) -> str:
    """A path or address as a text for OpenCV, which ends the process by a signal where it is no UTF-8.

    Raises:
        InputError: its bytes are no UTF-8.

    Example:
        >>> utf8_path(Path("film.mp4"))
        'film.mp4'
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {text[-100:]!r} is no UTF-8: rename the file") from error
    return text


def refuse_special(folder: Path, *names: str) -> None:
    """Refuse a folder that is gone on with where one of its own files or folders is a link, a pipe or a device.

    Such a folder may come from somebody else. What is written to, cut or cleared in it has to lie in it, and opening a
    pipe that nobody reads would wait for ever.

    Args:
        folder: that is gone on with.
        names: of what is written in place, or made within.

    Raises:
        InputError: one of them is a link, a pipe, a socket or a device.
    """
    for name in names:
        try:
            mode = (folder / name).lstat().st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            raise InputError(f"{folder / name} is a link: what is written here has to lie in {folder}; refused")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InputError(f"{folder / name} is a pipe, a socket or a device: put a plain file there; refused")


def folder_inside(folder: Path, name: str) -> Path:
    """A folder of our own within another, made where it is not there.

    Args:
        folder: that may come from somebody else.
        name: below it, with forward slashes.

    Raises:
        InputError: it is a link, or lies behind one.
        DeviceError: it cannot be made.
    """
    path = folder
    for part in name.split("/"):
        refuse_special(path, part)
        path = path / part
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise DeviceError(f"cannot make {path}: {error.strerror}") from error
    return path


def real_path(path: Path) -> Path:
    """Where a path leads to, links followed; of links in a ring, at which `Path.resolve` raises, the path itself."""
    return Path(os.path.realpath(path))


def with_a_name(path: Path) -> Path:
    """A path whose last part is a name: of `.` and `..` what they stand for, which files are named after or beside.

    Raises:
        InputError: nothing is left that has a name.

    Example:
        >>> with_a_name(Path("cards/stop.pdf"))
        PosixPath('cards/stop.pdf')
    """
    found = path if path.name not in ("", "..") else real_path(path)
    if not found.name:
        raise InputError(f"{path} has no name that a file beside it could have: name a file or a folder")
    return found


def file_inside(folder: Path, name: str, *, most_bytes: int = _MOST_BYTES) -> Path:
    """The file of that name below a folder.

    Args:
        folder: that the name is relative to.
        name: as it stands in a file of the folder.
        most_bytes: that the file may have.

    Raises:
        InputError: the name or a link leads out of the folder, or there is no such regular file, or it is too large.

    Example:
        >>> file_inside(Path("/tmp"), "../etc/passwd")
        Traceback (most recent call last):
        edgeguard.errors.InputError: '../etc/passwd' leads out of /tmp; refused
    """
    path = folder / name
    try:
        if not is_plain_name(name) or not real_path(path).is_relative_to(real_path(folder)):
            raise InputError(f"{name[:100]!r} leads out of {folder}; refused")
        if not path.is_file():
            raise InputError(f"{name} is not there")
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{name[:100]!r} cannot be read: {error.strerror}") from error
    if size > most_bytes:
        raise InputError(f"{name} has {size} bytes, more than {most_bytes}; refused")
    return path
