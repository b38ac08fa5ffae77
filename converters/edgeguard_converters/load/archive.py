"""Archives of models: read once, by these rules, and written anew for the library that loads them.

A zip names each member twice, in its directory and before its data, and readers differ in which one they believe. A
library never sees the file itself: it sees a fresh archive of the members that were read here and checked.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.archives import ForeignZip
from edgeguard.system.holes import bytes_of_data
from edgeguard.system.names import is_plain_name

#: That a model's archive may list.
MOST_MEMBERS = 100_000
_MOST_BYTES = 1 << 33
_MOST_GROWTH = 200  # times the size of the archive; weights that are packed shrink by less than two
_LEAST_SHARE = 8  # of a file this part at least is no hole
_FREE_BYTES = 1 << 24  # that may grow as it likes: text packs well


def read_file(path: Path, *, most_bytes: int = _MOST_BYTES) -> bytes:
    """A file, read once.

    Raises:
        InputError: it cannot be read, is larger than a model is, or is mostly holes.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path.name} is no file")
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            size = about.st_size
            # holes cost their maker nothing, and would take memory here
            if _FREE_BYTES < size <= most_bytes and bytes_of_data(stream.fileno(), about) * _LEAST_SHARE < size:
                raise InputError(f"{path.name} has {size} bytes, most of them holes, which no model has; refused")
            stream.seek(0)
            data = stream.read(most_bytes + 1) if size <= most_bytes else b""
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if max(size, len(data)) > most_bytes:
        raise InputError(f"{path.name} has more than {most_bytes} bytes")
    return data


def read_archive(data: bytes, name: str) -> dict[str, bytes]:
    """The members of a zip by their names.

    Args:
        data: of the archive.
        name: of its file, for messages.

    Raises:
        InputError: it is damaged, packed in a way or to a size that no model is, has two members of one name, or a
            name that leads elsewhere.
    """
    try:
        archive = ForeignZip(data, most_members=MOST_MEMBERS)
    except InputError as error:
        raise InputError(f"{name} is a damaged archive: {error}") from error
    with archive:
        entries = [entry for entry in archive.entries if not entry.is_dir()]
        _check(entries, len(data), name)
        try:
            return {entry.filename: archive.read(entry, _MOST_BYTES) for entry in entries}
        except InputError as error:
            raise InputError(f"{name} is no archive of a model: {error}; refused") from error


def read_one_member(path: Path, member: str, most_bytes: int) -> bytes | None:
    """A member of an archive, whose other members are not read; None where it has none of that name.

    Args:
        path: of the archive.
        member: its name below the one folder that all members lie in.
        most_bytes: that it may have.

    Raises:
        InputError: it is no file, the archive is damaged, or the member is larger or is there twice.
    """
    if not path.is_file():
        raise InputError(f"{path.name} is no file")
    try:
        archive = ForeignZip(path, most_members=MOST_MEMBERS)
    except InputError as error:
        raise InputError(f"{path.name} is a damaged archive: {error}") from error
    with archive:
        found = [entry for entry in archive.entries if entry.filename.partition("/")[2] == member]
        if len(found) > 1:
            raise InputError(f"{path.name} holds {member} twice; refused")
        return archive.read(found[0], most_bytes) if found else None


def fresh_archive(members: Mapping[str, bytes]) -> io.BytesIO:
    """A new zip, nothing in it packed, with these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    stream.seek(0)
    return stream


def _check(entries: list[zipfile.ZipInfo], size: int, name: str) -> None:
    seen: set[str] = set()
    total = 0
    for entry in entries:
        member = entry.filename
        if not is_plain_name(member) or entry.orig_filename != member:
            raise InputError(f"{name} holds a member whose name leads elsewhere: {member[:80]!r}; refused")
        if member in seen:
            raise InputError(f"{name} holds {member[:80]!r} twice; refused")
        seen.add(member)
        if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
            raise InputError(f"{name} holds {member[:80]!r}, which is a link or a device; refused")
        if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
            raise InputError(f"{name} holds {member[:80]!r}, whose two sizes differ; refused")
        total += entry.file_size
        if total > max(_FREE_BYTES, min(_MOST_BYTES, size * _MOST_GROWTH)):
            raise InputError(f"{name} would unpack to more than {total} bytes from {size}; refused")
