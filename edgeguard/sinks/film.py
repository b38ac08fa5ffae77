"""An MP4 of JPEGs as they are: nothing is decoded or coded again, and each frame has its own time.

ISO/IEC 14496-12 (boxes) and 14496-1 (the descriptor that says that the samples are JPEGs, object type 0x6C). FFmpeg
plays it; browsers do not play JPEGs in an MP4.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.system.files import replaced

_MILLIS = 1000
_JPEG = 0x6C
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MOST_BYTES = (1 << 32) - (1 << 20)


def write_film(path: Path, frames: Iterable[tuple[float, bytes]]) -> int:
    """Write the film, whole or not at all; returns how many frames it has.

    Args:
        path: of the .mp4.
        frames: seconds that never go back, and a JPEG's bytes. The film has the size of the first one.

    Raises:
        DeviceError: it cannot be written.
        JpegError: the first frame is no JPEG.
        ValueError: there is no frame.
    """
    times, sizes, width, height = list[float](), list[int](), 0, 0
    with replaced(path, durable=False) as partial, open(partial, "wb") as stream:
        stream.write(_box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2mp41"))
        start = stream.tell()
        stream.write(_box(b"mdat"))
        for at, jpeg in frames:
            if not sizes:
                info = read_jpeg_info(jpeg)
                width, height = info.width, info.height
            if stream.tell() + len(jpeg) > _MOST_BYTES:
                break
            stream.write(jpeg)
            times.append(at)
            sizes.append(len(jpeg))
        if not sizes:
            raise ValueError("a film without frames")
        length = stream.tell() - start
        stream.write(_index(times, sizes, start + 8, width, height))
        stream.seek(start)
        stream.write(struct.pack(">I", length))
    return len(sizes)


def _index(times: Sequence[float], sizes: Sequence[int], offset: int, width: int, height: int) -> bytes:
    """The box moov."""
    marks = [round(_MILLIS * (at - times[0])) for at in times]
    lasts = [max(after - before, 1) for before, after in pairwise(marks)]
    lasts.append(lasts[-1] if lasts else _MILLIS // 5)
    total = sum(lasts)
    offsets = [offset]
    for size in sizes[:-1]:
        offsets.append(offsets[-1] + size)
    descriptor = bytes((4, 13, _JPEG, 0x11, 0, 0, 0)) + struct.pack(">II", 0, 0)
    esds = bytes((3, len(descriptor) + 6, 0, 1, 0)) + descriptor + bytes((6, 1, 2))
    entry = _box(
        b"mp4v", bytes(6), struct.pack(">H16xHHIIIH", 1, width, height, 0x480000, 0x480000, 0, 1), bytes(32),
        struct.pack(">Hh", 24, -1), _full(b"esds", esds),
    )  # fmt: skip
    table = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">I", len(lasts)), *(struct.pack(">II", 1, last) for last in lasts)),
        _full(b"stsc", struct.pack(">4I", 1, 1, 1, 1)),
        _full(b"stsz", struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
        _full(b"stco", struct.pack(f">I{len(offsets)}I", len(offsets), *offsets)),
    )
    place = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, _MILLIS, total, 0x55C4, 0)),
        _full(b"hdlr", bytes(4), b"vide", bytes(12), b"\0"),
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), place, table),
    )
    head = struct.pack(">IIII", 0, 0, 1, 0) + struct.pack(">I", total) + bytes(16)
    track = _box(b"trak", _full(b"tkhd", head, _MATRIX, struct.pack(">II", width << 16, height << 16), flags=3), media)
    movie = struct.pack(">IIIIIH", 0, 0, _MILLIS, total, 0x10000, 0x100) + bytes(10) + _MATRIX + bytes(24)
    return _box(b"moov", _full(b"mvhd", movie, struct.pack(">I", 2)), track)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)
