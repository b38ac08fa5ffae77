"""A `.egb` file: an uncompressed zip that has exactly one spelling.

The signed manifest names every member with its size and hash, in order. So the reader parses no directory: it builds
each header as it has to be, and compares. A packed member, a link, another name, a member too many or a byte behind the
end differ from that, whatever a zip library would make of them.

    bundle.sig   bundle.json   the files of the manifest, in its order   the zip's directory
"""

import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from edgeguard.errors import InputError
from edgeguard.fleet.envelope import LARGEST_ENVELOPE
from edgeguard.fleet.manifest import Manifest

SIGNATURE, MANIFEST = "bundle.sig", "bundle.json"
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _UNIX, _DATE = 20, 3 << 8, (0 << 9) | (1 << 5) | 1  # 1980-01-01
_REGULAR = 0o100644 << 16
_CHUNK = 1 << 18
#: Takes the pieces of one member after another: its name, then bytes.
Write = Callable[[str, Iterator[bytes]], None]


def header(name: str, size: int, crc: int) -> bytes:
    """What stands before a member's bytes."""
    encoded = name.encode()
    return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, crc, size, size, len(encoded), 0) + encoded


def directory(members: list[tuple[str, int, int, int]]) -> bytes:
    """What stands behind the last one; of each member its name, size, CRC and offset."""
    entries = b""
    for name, size, crc, offset in members:
        encoded = name.encode()
        entries += _CENTRAL.pack(
            b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, 0, _DATE, crc, size, size,
            len(encoded), 0, 0, 0, 0, _REGULAR, offset,
        ) + encoded  # fmt: skip
    start = sum(len(header(name, 0, 0)) + size for name, size, _, _ in members)
    return entries + _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(entries), start, 0)


def open_bundle(path: Path) -> BinaryIO:
    """A bundle's file, to read. A pipe is not waited for: a bundle is read twice.

    Raises:
        InputError: it cannot be read, or is no plain file.
    """
    try:
        stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - the caller's
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise InputError(f"{path} is a device or a pipe, not a bundle's file: copy the bundle into a plain file first")
    return stream


def read_signature(stream: BinaryIO) -> bytes:
    """The bytes of `bundle.sig`, the first member; nothing behind it is read.

    Raises:
        InputError: the file is no bundle.
    """
    stream.seek(0)
    begin = stream.read(_LOCAL.size + len(SIGNATURE))
    if begin[:4] != b"PK\3\4" or len(begin) < _LOCAL.size + len(SIGNATURE):
        raise InputError(f"no bundle: it does not begin as one{_html(begin)}; refused")
    size, crc = struct.unpack_from("<I", begin, 22)[0], struct.unpack_from("<I", begin, 14)[0]
    if begin[-len(SIGNATURE) :] != SIGNATURE.encode():
        raise InputError("the bundle is not signed: bundle.sig is not its first member; refused")
    if size > LARGEST_ENVELOPE:
        raise InputError(f"bundle.sig has {size} bytes, more than {LARGEST_ENVELOPE}; refused")
    if begin != header(SIGNATURE, size, crc):
        raise InputError("bundle.sig is packed, or its header is another one than bundles have; refused")
    data = stream.read(size)
    if len(data) < size:
        raise InputError("the bundle ends early; refused")
    return data


def read_members(stream: BinaryIO, signature: bytes, payload: bytes, manifest: Manifest, write: Write | None) -> None:
    """Compare everything behind `bundle.sig` with what was signed, and hand the files' bytes to `write` on the way.

    Each piece is handed on before its file's hash is known: the caller throws away what it got when this raises.

    Args:
        stream: of the whole bundle.
        signature: bytes of `bundle.sig`.
        payload: bytes of `bundle.json`, verified.
        manifest: the same, parsed.
        write: takes a name and its pieces; None only checks.

    Raises:
        InputError: anything differs; the text says what.
    """
    members = [(SIGNATURE, len(signature), zlib.crc32(signature), 0)]
    stream.seek(0)
    _same(stream, header(*members[0][:3]) + signature, SIGNATURE)
    wanted = [(MANIFEST, len(payload), hashlib.sha256(payload).hexdigest())]
    wanted += [(file.name, file.bytes, file.sha256) for file in manifest.files]
    size = os.fstat(stream.fileno()).st_size
    end = sum(len(header(name, 0, 0)) + length for name, length, _ in [(SIGNATURE, len(signature), ""), *wanted])
    end += len(directory([(name, 0, 0, 0) for name in (SIGNATURE, *(name for name, *_ in wanted))]))
    if size != end:
        differs = "larger than was signed" if size > end else "it ends early"
        raise InputError(f"the bundle has {size} bytes, its manifest gives {end}: {differs}; refused")
    for name, length, sha256 in wanted:
        offset = stream.tell()
        crc = _header_crc(stream, name, length)
        member = _Member(stream, name, length)
        if write is None or name == MANIFEST:
            for _ in member.pieces():
                pass
        else:
            write(name, member.pieces())
        if member.hash.hexdigest() != sha256 or member.crc != crc:
            raise InputError(f"{name} differs from what was signed; refused")
        members.append((name, length, crc, offset))
    if stream.read(end) != directory(members):
        raise InputError(
            "the bundle's directory is not the one that was signed (a link, another name or size); refused"
        )


class _Member:
    """A member's bytes, hashed as they go by."""

    def __init__(self, stream: BinaryIO, name: str, length: int) -> None:
        self._stream, self._name, self._left = stream, name, length
        self.hash, self.crc = hashlib.sha256(), 0

    def pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self._stream.read(min(_CHUNK, self._left))
            if not piece:
                raise InputError(f"the bundle ends early, in {self._name}; refused")
            self._left -= len(piece)
            self.hash.update(piece)
            self.crc = zlib.crc32(piece, self.crc)
            yield piece


def _header_crc(stream: BinaryIO, name: str, size: int) -> int:
    """The CRC in a header that is otherwise as it has to be."""
    found = stream.read(len(header(name, size, 0)))
    if len(found) < _LOCAL.size or found[:4] != b"PK\3\4":
        raise InputError(f"the bundle has something else where {name} has to be; refused")
    crc: int = struct.unpack_from("<I", found, 14)[0]
    if found == header(name, size, crc):
        return crc
    if struct.unpack_from("<H", found, 8)[0] != 0:
        raise InputError(f"{name} is packed in the bundle, which no bundle is; refused")
    raise InputError(f"the bundle has another name, size or mark where {name} has to be; refused")


def _same(stream: BinaryIO, wanted: bytes, name: str) -> None:
    if stream.read(len(wanted)) != wanted:
        raise InputError(f"{name} changed while it was read; refused")


def _html(begin: bytes) -> str:
    return " (a web page: a captive portal, or a wrong address)" if begin.lstrip()[:1] == b"<" else ""
