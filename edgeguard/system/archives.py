"""Zips that somebody else packed: their lists and members, each bounded before it takes memory."""

import copy
import io
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from edgeguard.errors import InputError
from edgeguard.system.foreign import parsing

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_OTHERS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
_ENTRY = b"PK\x01\x02"  # each entry of the list begins so
_LISTED_BYTES = 256  # of the list for a member, on average: names of 200 characters
_SHOWN = 100


class ForeignZip:
    """A zip of a stranger, whose list and members cost what was allowed at most.

    Members are stored or deflated: Python unpacks the other methods as a whole, whatever it is told to read. What a
    member says of its size has to be true.

    Args:
        source: the file, or its bytes.
        most_members: that it may list. The list may have 256 bytes for each.

    Raises:
        InputError: it cannot be read, is damaged, or lists more.

    Example:
        >>> with ForeignZip(Path("photos.zip"), most_members=1000) as archive:  # doctest: +SKIP
        ...     first = archive.read(archive.entries[0], 1 << 20)
    """

    def __init__(self, source: Path | bytes, *, most_members: int) -> None:
        with _readable():
            raw = io.BytesIO(source) if isinstance(source, bytes) else _opened(source)
            self._stream = _Listing(raw, most_members)
            self._close = weakref.finalize(self, self._stream.close)
            with parsing("its list of files"):
                self._archive = zipfile.ZipFile(self._stream)
        self._stream.most_members = None

    @property
    def entries(self) -> list[zipfile.ZipInfo]:
        """What it lists, folders too; nothing of it is checked yet."""
        return self._archive.infolist()

    def read(self, entry: zipfile.ZipInfo, most_bytes: int) -> bytes:
        """The bytes of a member.

        Args:
            entry: of `entries`.
            most_bytes: that it may have.

        Raises:
            InputError: it is larger, encrypted, damaged, packed by another method than deflate, or has not the size
                that the list says.
        """
        name, size = entry.filename[:_SHOWN], entry.file_size
        if entry.flag_bits & 1:
            raise InputError(f"{name!r} is encrypted: pack it without a password")
        if entry.compress_type not in (_STORED, _DEFLATED):
            method = _OTHERS.get(entry.compress_type, f"method {entry.compress_type}")
            raise InputError(f"{name!r} is packed in a way that is not read here ({method}): pack it with deflate")
        if size > most_bytes:
            raise InputError(f"{name!r} has {size} bytes, more than {most_bytes}")
        further = copy.copy(entry)
        further.file_size = size + 1  # `zipfile` is silent about what is beyond the size that it knows
        with _readable(), parsing(repr(name)), self._archive.open(further) as stream:
            data = stream.read(size + 1)
        if len(data) != size:
            raise InputError(f"{name!r} is damaged: it has not the {size} bytes that the list says")
        return data

    def close(self) -> None:
        """Close the file."""
        self._archive.close()
        self._close()

    def __enter__(self) -> "ForeignZip":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Listing(io.BufferedReader):
    """What `zipfile` reads from. It takes the whole list into memory by one `read`, so that is where it is bounded."""

    def __init__(self, raw: io.RawIOBase | io.BytesIO, most_members: int) -> None:
        super().__init__(raw)
        self.most_members: int | None = most_members

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.most_members
        if most is not None and size is not None and size > most * _LISTED_BYTES:
            raise InputError(f"its list of files has {size} bytes, more than {most * _LISTED_BYTES}")
        data = super().read(size)
        if most is not None and data.count(_ENTRY) > most:
            raise InputError(f"it lists more than {most} files")
        return data


def _opened(path: Path) -> io.FileIO:
    if not path.is_file():
        raise InputError("it is no file")
    return io.FileIO(path)


@contextmanager
def _readable() -> Iterator[None]:
    """What the system says becomes a line: a stranger's offsets lead to places that cannot be read, too."""
    try:
        yield
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error
