"""Zips whose fields say whatever a test wants."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tracemalloc import get_traced_memory, start, stop

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14


def crafted_zip(*members: tuple[bytes, int, bytes, int, int], flags: int = 0) -> bytes:
    """A zip of members as (name, method, packed bytes, size that is said, CRC that is said)."""
    data, listed = b"", b""
    for name, method, packed, size, crc in members:
        fields = struct.pack("<HHHHHIIIHH", 20, flags, method, 0, 33, crc, len(packed), size, len(name), 0)
        listed += b"PK\1\2" + struct.pack("<H", 20 | 3 << 8) + fields
        listed += struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(data)) + name
        data += b"PK\3\4" + fields + name + packed
    return data + listed + _end(len(members), len(listed), len(data))


def zip_of_many(count: int) -> bytes:
    """A zip of 64-bit counts that lists so many files without a byte, each called `a`."""
    head = b"PK\3\4"
    fields = (20 | 3 << 8, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    listed = (b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", *fields) + b"a") * count
    there = len(head) + len(listed)
    end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(listed), len(head))
    end += b"PK\6\7" + struct.pack("<IQI", 0, there, 1)
    return head + listed + end + _end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def _end(count: int, size: int, place: int) -> bytes:
    return b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, size, place, 0)


def _zip_lzma(data: bytes) -> bytes:
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "preset": 0}])
    properties = bytes([93]) + struct.pack("<I", 1 << 23)
    return b"\x09\x04" + struct.pack("<H", len(properties)) + properties + packer.compress(data) + packer.flush()


PACKERS: dict[int, Callable[[bytes], bytes]] = {
    STORED: lambda data: data,
    DEFLATED: lambda data: zlib.compress(data, 9, -15),
    BZIP2: lambda data: bz2.compress(data, 1),
    LZMA: _zip_lzma,
}


def bomb(name: str, method: int, said: int = 10, *, size: int = 4 << 20) -> bytes:
    """A zip whose member says it has `said` bytes of zero, and unpacks to `size`. The CRC is that of what it says."""
    return crafted_zip((name.encode(), method, PACKERS[method](bytes(size)), said, zlib.crc32(bytes(said))))


@contextmanager
def memory_below(most_bytes: int) -> Iterator[None]:
    """Python's own memory grows by less than that, or the test fails."""
    start()
    try:
        yield
        grown = get_traced_memory()[1]
    finally:
        stop()
    assert grown < most_bytes, f"{grown >> 10} KiB"
