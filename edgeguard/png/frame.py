"""Frames as PNG (ISO/IEC 15948), for a link on which every level has to arrive: written and read without a library.

The writer filters the first row of each row of blocks with Sub and the others with Up: a frame after pass 1 is smooth
inside its blocks, so that most of what is left is zero, and no row is tried with several filters. The reader takes
what the writer writes and nothing more: signature, IHDR, any chunk that its caller put there, one IDAT, IEND; 8 bits,
gray or RGB, not interlaced, the filters None, Sub and Up. That leaves a stranger's bytes a few comparisons, zlib with
a bound that the header gives, and sums.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.system.foreign import MAX_PIXELS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Where a chunk of the caller's stands: behind the signature and IHDR, whose length is fixed.
EXTRA_AT = len(SIGNATURE) + 25
#: A frame with a longer side than this is refused: each row costs Python some work of its own.
MAX_SIDE = 1 << 14
_HEADER = struct.Struct(">IIBBBBB")
_GRAY, _RGB = 0, 2  # colour types
_NONE, _SUB, _UP = 0, 1, 2  # filters (9.2)
_BLOCK = 8
_LEVEL = 1  # of zlib: 2 and 3 take 1.2 and 1.5 times as long and save 2 and 4 % on a frame after pass 1
_MEMORY = 9  # of zlib, the most: 400 KiB
_MOST_RATIO = 1032  # of deflate: what a stream can grow to (zlib's documentation)


@dataclass(frozen=True)
class PngInfo:
    """What a frame's chunks say; nothing of the pixels is decoded.

    Attributes:
        width, height: pixels.
        channels: 1 or 3.
        extra: type and payload of the chunk behind IHDR; None where there is none.
        packed: the compressed rows.
    """

    width: int
    height: int
    channels: int
    extra: tuple[bytes, bytes] | None
    packed: bytes


def write_png(levels: NDArray[np.uint8]) -> bytes:
    """A frame as PNG.

    Args:
        levels: uint8 (h, w, 3), or (h, w) gray, with sides of at most `MAX_SIDE`.

    Example:
        >>> frame = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
        >>> bool((read_png(read_png_info(write_png(frame))) == frame).all())
        True
    """
    height, width = levels.shape[:2]
    channels = 1 if levels.ndim == 2 else 3
    rows = np.ascontiguousarray(levels).reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    first = rows[::_BLOCK]
    filtered[::_BLOCK, 0] = _SUB
    filtered[::_BLOCK, 1 : 1 + channels] = first[:, :channels]
    np.subtract(first[:, channels:], first[:, :-channels], out=filtered[::_BLOCK, 1 + channels :])
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY)
    packed = packer.compress(filtered.data) + packer.flush()
    header = _HEADER.pack(width, height, 8, _GRAY if channels == 1 else _RGB, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One chunk: length, type, payload, CRC."""
    return len(payload).to_bytes(4, "big") + kind + payload + zlib.crc32(payload, zlib.crc32(kind)).to_bytes(4, "big")


def read_png_info(data: bytes) -> PngInfo:
    """The chunks of a frame, each with its CRC checked.

    Raises:
        JpegError: it is damaged, ends early, is a PNG of another kind than `write_png` writes, has more than
            `MAX_PIXELS` pixels or a side beyond `MAX_SIDE`, or holds too little for its size.
    """
    if data[: len(SIGNATURE)] != SIGNATURE:
        raise JpegError("not a PNG: it does not start with its signature")
    kind, header, position = _chunk(data, len(SIGNATURE))
    if kind != b"IHDR" or len(header) != _HEADER.size:
        raise JpegError("broken PNG: it does not start with its header")
    width, height, depth, color, *rest = _HEADER.unpack(header)
    if depth != 8 or color not in (_GRAY, _RGB) or any(rest):
        raise JpegError("unsupported PNG: a frame has 8 bits, gray or RGB, and no interlacing")
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise JpegError(
            f"refused: {width}x{height} pixels; at most {MAX_SIDE} a side and {MAX_PIXELS >> 20} megapixels are read"
        )
    channels = 1 if color == _GRAY else 3
    kind, payload, position = _chunk(data, position)
    extra = None
    if kind != b"IDAT":
        extra = kind, payload
        kind, payload, position = _chunk(data, position)
    if kind != b"IDAT" or _chunk(data, position) != (b"IEND", b"", len(data)):
        raise JpegError("unsupported PNG: a frame has its pixels in one piece, and nothing behind them")
    if _row_bytes(width, channels) * height > _MOST_RATIO * len(payload):
        raise JpegError("broken PNG: it holds too little for its size")
    return PngInfo(width, height, channels, extra, payload)


def read_png(info: PngInfo) -> NDArray[np.uint8]:
    """The levels of a frame, uint8 (h, w, 3); gray ones in all three channels.

    Raises:
        JpegError: the pixels are damaged, too few or too many, or filtered as `write_png` never does.
    """
    height, stride = info.height, _row_bytes(info.width, info.channels)
    unpacker = zlib.decompressobj()
    try:
        rows = unpacker.decompress(info.packed, height * stride + 1)  # one more than there may be
    except zlib.error as error:
        raise JpegError("broken PNG: its pixels are damaged") from error
    if len(rows) != height * stride or not unpacker.eof or unpacker.unused_data:
        raise JpegError("broken PNG: it does not hold the pixels of its size")
    filtered = np.frombuffer(rows, np.uint8).reshape(height, stride)
    filters = filtered[:, 0]
    if filters.max() > _UP:
        raise JpegError("unsupported PNG: a frame has the filters None, Sub and Up")
    levels = np.empty((height, info.width, info.channels), np.uint8)
    flat = levels.reshape(height, -1)
    flat[:] = filtered[:, 1:]
    for row in np.flatnonzero(filters):
        if filters[row] == _SUB:
            np.add.accumulate(levels[row], axis=0, out=levels[row])
        elif row:  # the row above the first one is zero
            np.add(flat[row], flat[row - 1], out=flat[row])
    return levels if info.channels == 3 else np.repeat(levels, 3, axis=2)


def _row_bytes(width: int, channels: int) -> int:
    """Of a filtered row: its filter and its levels."""
    return 1 + width * channels


def _chunk(data: bytes, position: int) -> tuple[bytes, bytes, int]:
    """Type, payload, and the position behind the chunk."""
    length = int.from_bytes(data[position : position + 4], "big")
    end = position + 12 + length
    if position + 12 > len(data) or end > len(data):
        raise JpegError("broken PNG: it ends early")
    kind, payload = data[position + 4 : position + 8], data[position + 8 : end - 4]
    if zlib.crc32(payload, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
        raise JpegError("broken PNG: a checksum is wrong")
    return kind, payload, end
