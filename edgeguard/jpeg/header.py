"""Reading what a JPEG says of itself: size, sampling, tables, APP segments, and whether it is whole.

Pure Python over bytes from outside: every length is checked, nothing is allocated from a number in the file.
Sections refer to ITU-T T.81.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from edgeguard.errors import JpegError
from edgeguard.jpeg.exif import exif_orientation
from edgeguard.jpeg.tables import Table, from_zigzag
from edgeguard.system.foreign import MAX_PIXELS

#: A file with more scans than this is refused (a progressive file of a camera or a tool has about ten).
MAX_SCANS = 100
#: All scans of a file together visit at most so many 8x8 blocks. Ten scans of 64 megapixels visit 15 million; a decoder
#: takes up to 190 ns for each, whatever the file's size (measured, x86-64).
MAX_BLOCK_VISITS = 1 << 24

_SOI, _EOI, _SOS, _DQT, _DRI, _TEM = 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0x01
_RESTARTS = range(0xD0, 0xD8)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn without DHT, JPG, DAC
_HUFFMAN_8BIT = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_MOST_MARKERS = 4096  # parsed one by one in Python: a file of nothing else must not take seconds
_MOST_TABLES = 64
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # B.1.1.5: stuffed zeros and restarts belong to the scan

_SAMPLING: dict[tuple[tuple[int, int], ...], str] = {
    ((1, 1), (1, 1), (1, 1)): "444",
    ((2, 1), (1, 1), (1, 1)): "422",
    ((2, 2), (1, 1), (1, 1)): "420",
}


@dataclass(frozen=True)
class JpegInfo:
    """What a JPEG's headers say.

    Attributes:
        width, height: pixels.
        coding: `baseline`, `extended` or `progressive`.
        sampling: `gray`, `444`, `422`, `420`, or `other`.
        tables: the quantisation table of each component, natural order.
        restart_interval: MCUs between restart markers, 0 when there are none.
        app_segments: (n, payload) of each APPn segment.
        complete: True when the scan data ends with an EOI marker.
    """

    width: int
    height: int
    coding: str
    sampling: str
    tables: tuple[Table, ...]
    restart_interval: int
    app_segments: tuple[tuple[int, bytes], ...]
    complete: bool

    @property
    def tables_sha256(self) -> str:
        """Which tables they are: 16 hexadecimal digits."""
        return hashlib.sha256(repr(self.tables).encode()).hexdigest()[:16]

    @property
    def orientation(self) -> int:
        """EXIF's orientation 1..8; 1 is upright."""
        found = (exif_orientation(payload) for number, payload in self.app_segments if number == 1)
        return next((value for value in found if value != 1), 1)


def read_jpeg_info(data: bytes) -> JpegInfo:
    """Parse the headers of a JPEG.

    Raises:
        JpegError: not a JPEG, a coding that no decoder here takes (lossless, arithmetic, 12 bit), no scan, a missing
            table, more than `MAX_PIXELS` pixels, or scans that would keep a decoder busy (`MAX_SCANS`,
            `MAX_BLOCK_VISITS`). A file that merely ends early gives `complete=False`.
    """
    if data[:2] != b"\xff\xd8":
        raise JpegError("not a JPEG: it does not start with an SOI marker")
    tables: dict[int, Table] = {}
    used: dict[int, Table] = {}
    apps: list[tuple[int, bytes]] = []
    frame: _Frame | None = None
    restart, scans, complete, seen_tables = 0, list[bytes](), False, 0
    for marker, payload in _segments(data):
        if marker == _DQT:
            found = _parse_tables(payload, _MOST_TABLES - seen_tables)
            seen_tables += len(found)
            tables.update(found)
        elif marker == _DRI and len(payload) == 2:
            restart = int.from_bytes(payload, "big")
        elif 0xE0 <= marker <= 0xEF:
            apps.append((marker - 0xE0, payload))
        elif marker in _FRAME_HEADERS:
            if frame is not None:
                raise JpegError("unsupported JPEG: it has more than one frame header")
            frame = _parse_frame(marker, payload)
        elif marker == _SOS:
            scans.append(payload)
            _take_tables(frame, payload, tables, used)
        complete = marker == _EOI
    if frame is None:
        raise JpegError("broken JPEG: it has no frame header")
    if not scans:
        raise JpegError("broken JPEG: it ends before the image data")
    _check_work(frame, scans)
    component_tables = _tables_of(frame, tables, used)
    return JpegInfo(
        frame.width, frame.height, frame.coding, frame.sampling, component_tables, restart, tuple(apps), complete
    )


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of each segment that is whole, then (EOI, nothing) where the file has an end."""
    position, scans = 2, 0
    for _ in range(_MOST_MARKERS):
        marker, position = _next_marker(data, position)
        if marker is None:
            return
        if marker in _RESTARTS or marker in (_SOI, _TEM):
            continue
        if marker == _EOI:
            yield marker, b""
            return
        payload, position = _segment(data, position, scans)
        if payload is None:
            return
        yield marker, payload
        if marker == _SOS:
            scans += 1
            found = _MARKER_IN_SCAN.search(data, position)
            position = found.start() if found else len(data)
    raise JpegError(f"refused: a JPEG of more than {_MOST_MARKERS} segments")


def _check_work(frame: "_Frame", scans: list[bytes]) -> None:
    """What a decoder will have to do, from the headers alone: each scan visits every block of its components."""
    if len(scans) > MAX_SCANS:
        raise JpegError(f"refused: {len(scans)} scans are more than the limit of {MAX_SCANS}")
    visits = sum(frame.blocks_of(payload) for payload in scans)
    if visits > MAX_BLOCK_VISITS:
        raise JpegError(
            f"refused: {len(scans)} scans of {frame.width}x{frame.height} pixels are more work than the limit of "
            f"{MAX_BLOCK_VISITS >> 20} million blocks"
        )


def _take_tables(frame: "_Frame | None", scan: bytes, tables: dict[int, Table], used: dict[int, Table]) -> None:
    """Keep each component's table as its first scan finds it: a decoder uses that one, whatever follows (B.2.4.1)."""
    if frame is None:
        raise JpegError("broken JPEG: image data come before the frame header")
    for component in frame.components_of(scan):
        number = frame.table_numbers[component]
        if component not in used and number in tables:
            used[component] = tables[number]


def _tables_of(frame: "_Frame", tables: dict[int, Table], used: dict[int, Table]) -> tuple[Table, ...]:
    """The table of each component; of one without a scan, which a truncated file may have, the last of its number."""
    missing = [n for c, n in enumerate(frame.table_numbers) if c not in used and n not in tables]
    if missing:
        raise JpegError(f"broken JPEG: quantization table {missing[0]} is missing")
    return tuple(used[c] if c in used else tables[n] for c, n in enumerate(frame.table_numbers))


def read_whole_jpeg(data: bytes) -> JpegInfo:
    """`read_jpeg_info`, refusing a file that ends early as well."""
    info = read_jpeg_info(data)
    if not info.complete:
        raise JpegError("broken JPEG: it ends early")
    return info


@dataclass(frozen=True)
class _Frame:
    width: int
    height: int
    coding: str
    sampling: str
    table_numbers: tuple[int, ...]
    names: tuple[int, ...]
    blocks: dict[int, int]  # of each component, by its name

    def components_of(self, scan: bytes) -> list[int]:
        """Places of the components that a scan (its header's payload, B.2.3) names; all where it names none known."""
        named = scan[1 : 1 + 2 * scan[0] : 2] if scan else b""
        return [place for place, name in enumerate(self.names) if name in named] or list(range(len(self.names)))

    def blocks_of(self, scan: bytes) -> int:
        """Blocks that a scan (its header's payload, B.2.3) goes through; all of them where it names nothing known."""
        named = scan[1 : 1 + 2 * scan[0] : 2] if scan else b""
        return sum(self.blocks.get(name, 0) for name in named) or sum(self.blocks.values())


def _next_marker(data: bytes, position: int) -> tuple[int | None, int]:
    """The next marker's code and the position behind it; None at the end of the data."""
    found = _MARKER.search(data, position)
    return (None, len(data)) if found is None else (data[found.end() - 1], found.end())


def _segment(data: bytes, position: int, scans: int) -> tuple[bytes | None, int]:
    """A segment's payload; None where the data end inside it after at least one scan."""
    length = int.from_bytes(data[position : position + 2], "big")
    end = position + length
    if length < 2 or end > len(data):
        if scans:
            return None, len(data)
        raise JpegError("broken JPEG: it ends inside a header segment")
    return data[position + 2 : end], end


def _parse_tables(payload: bytes, most: int) -> dict[int, Table]:
    """B.2.4.1: up to `most` tables, 8 or 16 bits a step, in zigzag order."""
    return dict(_parsed_tables(payload, most))


@lru_cache(16)  # a camera writes the same ones into each frame
def _parsed_tables(payload: bytes, most: int) -> tuple[tuple[int, Table], ...]:
    tables: dict[int, Table] = {}
    position = 0
    while position < len(payload):
        if len(tables) == most:
            raise JpegError("refused: a JPEG of more quantization tables than any needs")
        precision, number = payload[position] >> 4, payload[position] & 15
        size = 64 * (1 + precision)
        raw = payload[position + 1 : position + 1 + size]
        if precision > 1 or number > 3 or number in tables or len(raw) < size:
            raise JpegError("broken JPEG: a quantization table is malformed")
        width = 1 + precision
        steps = tuple(int.from_bytes(raw[i : i + width], "big") for i in range(0, size, width))
        if 0 in steps:
            raise JpegError("broken JPEG: a quantization step is 0")
        tables[number] = from_zigzag(steps)
        position += 1 + size
    return tuple(tables.items())


def _parse_frame(marker: int, payload: bytes) -> _Frame:
    """B.2.2: frame header."""
    if marker not in _HUFFMAN_8BIT:
        raise JpegError("unsupported JPEG: lossless, hierarchical and arithmetic coding are not read")
    if len(payload) < 6 or len(payload) < 6 + 3 * payload[5]:
        raise JpegError("broken JPEG: the frame header is too short")
    precision, count = payload[0], payload[5]
    height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
    if precision != 8:
        raise JpegError(f"unsupported JPEG: {precision} bits a sample (only 8 are read)")
    if count not in (1, 3):
        raise JpegError(f"unsupported JPEG: {count} components (only gray and YCbCr are read): save it as RGB")
    if width == 0 or height == 0:
        raise JpegError("unsupported JPEG: its header gives no size")
    if width * height > MAX_PIXELS:
        raise JpegError(f"refused: {width}x{height} pixels are more than the limit of {MAX_PIXELS >> 20} megapixels")
    factors = tuple((payload[7 + 3 * i] >> 4, payload[7 + 3 * i] & 15) for i in range(count))
    if any(not 1 <= factor <= 4 for pair in factors for factor in pair):
        raise JpegError("broken JPEG: a sampling factor is out of range")
    sampling = "gray" if count == 1 else _SAMPLING.get(factors, "other")
    blocks: dict[int, int] = {}
    for i, (across, down) in enumerate(factors):
        columns = -(-width * across // (8 * max(a for a, _ in factors)))
        rows = -(-height * down // (8 * max(b for _, b in factors)))
        name = payload[6 + 3 * i]
        blocks[name] = blocks.get(name, 0) + rows * columns
    numbers = tuple(payload[8 + 3 * i] for i in range(count))
    names = tuple(payload[6 + 3 * i] for i in range(count))
    return _Frame(width, height, _HUFFMAN_8BIT[marker], sampling, numbers, names, blocks)
