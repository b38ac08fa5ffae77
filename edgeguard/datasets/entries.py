"""The files of a folder or a .zip that somebody else packed: their names and bytes, or a refusal in one line."""

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

from edgeguard.errors import InputError
from edgeguard.system.archives import ForeignZip
from edgeguard.system.foreign import read_bounded
from edgeguard.system.names import is_plain_name, utf8_name
from edgeguard.system.walk import walk

_MAX_BYTES = 64 << 20  # of one image file
_FREE_BYTES = 64 << 20  # that an archive may grow to, however small it is
_MOST_GROWTH = 20  # times its size: pictures are packed already
_MOST_MEMBERS = 250_000  # of an archive: some 100 MB for its list


class UnreadableMember(InputError):
    """A file that cannot be read or is too large, or one of an archive that is encrypted, damaged or packed oddly."""


@dataclass(frozen=True)
class Entry:
    """A file: its name below the folder (or in the archive) with forward slashes, and what reads its bytes.

    `read` raises `UnreadableMember`.
    """

    name: str
    read: Callable[[], bytes]


def entries(path: Path, suffixes: Collection[str], *, strict: bool = False) -> list[Entry]:
    """The files with one of these suffixes, in byte order of their names.

    Args:
        path: a folder, or a .zip.
        suffixes: lower case, with the dot.
        strict: refuse links in a folder too, and names that are equal but for case anywhere.

    Raises:
        InputError: neither a folder nor a .zip, names that lead elsewhere, links, devices, bombs.

    Example:
        >>> [entry.name for entry in entries(Path("photos"), {".png"})]  # doctest: +SKIP
        ['cat/0.png', 'dog/0.png']
    """
    is_zip = path.suffix.lower() == ".zip" and not path.is_dir()
    found = list(_of_zip(path, suffixes) if is_zip else _of_folder(path, suffixes, strict))
    for entry in found:
        utf8_name(path, entry.name)
    if strict:
        _refuse_equal_but_for_case(path, [entry.name for entry in found])
    return found


def _of_folder(folder: Path, suffixes: Collection[str], strict: bool) -> Iterator[Entry]:
    if not folder.is_dir():
        raise InputError(f"{folder} is neither a folder nor a .zip")
    found = []
    for name, entry in walk(folder, strict=strict):
        if strict and entry.is_symlink():
            raise InputError(f"{folder}: {name} is a link; refused: put the file itself there")
        if strict and not entry.is_file():
            raise InputError(f"{folder}: {name} is a device, a pipe or a socket; refused")
        if PurePosixPath(entry.name).suffix.lower() in suffixes and entry.is_file():
            if strict and not is_plain_name(name):
                raise InputError(f"{folder}: the name {name[:100]!r} does not mean the same everywhere; refused")
            found.append(name)
    for name in sorted(found, key=os.fsencode):
        yield Entry(name, partial(_bounded, folder / name))


def _bounded(path: Path) -> bytes:
    try:
        return read_bounded(path, _MAX_BYTES, "the file")
    except InputError as error:
        raise UnreadableMember(str(error)) from error


def _of_zip(path: Path, suffixes: Collection[str]) -> Iterator[Entry]:
    archive = opened_zip(path)
    size, total, seen = path.stat().st_size, 0, set[str]()
    inside = [e for e in archive.entries if PurePosixPath(e.filename).suffix.lower() in suffixes and not e.is_dir()]
    for entry in sorted(inside, key=lambda e: e.filename.encode()):
        if not is_plain_name(entry.filename) or entry.filename in seen:
            raise InputError(f"{path}: {entry.filename[:100]!r} leads elsewhere, or stands there twice; refused")
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise InputError(f"{path}: {entry.filename} is a link or a device; refused")
        if entry.file_size > _MAX_BYTES:
            raise InputError(f"{path}: {entry.filename} has {entry.file_size} bytes, more than {_MAX_BYTES}")
        seen.add(entry.filename)
        total += entry.file_size
        if total > max(_FREE_BYTES, size * _MOST_GROWTH):
            raise InputError(f"{path} would unpack to more than {total} bytes from {size}; refused")
        yield Entry(entry.filename, partial(read_member, path, archive, entry))


def opened_zip(path: Path) -> ForeignZip:
    """A .zip that somebody else packed.

    Raises:
        InputError: it cannot be read, or lists too many files; a name in it that is no text is among why.
    """
    try:
        return ForeignZip(path, most_members=_MOST_MEMBERS)
    except InputError as error:
        raise InputError(f"{path} cannot be read as a .zip: {error}") from error


def read_member(path: Path, archive: ForeignZip, entry: ZipInfo) -> bytes:
    """The bytes of a file in an archive, of exactly the size that its list of files says.

    Raises:
        UnreadableMember: it is too large, encrypted, damaged or packed in a way that is not read.
    """
    try:
        return archive.read(entry, _MAX_BYTES)
    except InputError as error:
        raise UnreadableMember(f"{path}: {error}") from error


def _refuse_equal_but_for_case(path: Path, names: list[str]) -> None:
    """Files and the folders that they are in; letters that are composed in another way are equal as well."""
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for place in ("/".join(parts[: count + 1]) for count in range(len(parts))):
            other = seen.setdefault(unicodedata.normalize("NFC", place).casefold(), place)
            if other != place:
                raise InputError(
                    f"{path}: {other!r} and {place!r} are equal but for case: some systems keep one of them; refused"
                )
