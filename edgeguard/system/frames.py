"""Messages between two processes: JSON and bytes, never pickles, so that reading one runs nothing."""

import json
import os
import struct
from dataclasses import dataclass, field
from typing import Any

_HEAD = struct.Struct("=QQ")
_MOST_JSON = 64 << 20
_MOST_CONTAINERS, _MOST_VALUES = 1 << 20, 1 << 22  # in it: three bytes make a list of 64
_MOST_BLOBS = 100_000
_PIECE = 1 << 20


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        fields: what JSON can hold.
        blobs: bytes beside it.
    """

    fields: dict[str, Any]
    blobs: tuple[bytes, ...] = field(default=())


class FrameError(ValueError):
    """What came is no message, or one above its bounds."""


def write_frame(stream: int, frame: Frame) -> None:
    """Write a message to a file descriptor.

    Raises:
        OSError: nobody reads there any more.
    """
    sizes = [len(blob) for blob in frame.blobs]
    text = json.dumps([frame.fields, sizes]).encode()
    _write(stream, _HEAD.pack(len(text), sum(sizes)) + text)
    for blob in frame.blobs:
        _write(stream, blob)


def read_frame(stream: int, *, most_bytes: int) -> Frame:
    """Read a message from a file descriptor.

    Args:
        stream: the file descriptor.
        most_bytes: in all its blobs.

    Raises:
        EOFError: it ended.
        FrameError: what came is no message, or has more bytes than it may.
    """
    length, total = _HEAD.unpack(_read(stream, _HEAD.size))
    if length > _MOST_JSON or total > most_bytes:
        raise FrameError(f"a message of {length + total} bytes, more than is taken")
    try:
        text = _read(stream, length)
        if text.count(b"[") + text.count(b"{") > _MOST_CONTAINERS or text.count(b",") > _MOST_VALUES:
            raise FrameError("a message of more parts than is taken")
        fields, sizes = json.loads(text)
    except FrameError:
        raise
    except (ValueError, RecursionError) as error:
        raise FrameError(f"what came is no message: {error}") from error
    if not isinstance(fields, dict) or not isinstance(sizes, list) or len(sizes) > _MOST_BLOBS:
        raise FrameError("what came is no message")
    if any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) != total:
        raise FrameError("a message whose sizes do not add up")
    return Frame(fields, tuple(_read(stream, size) for size in sizes))


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view[:_PIECE]) :]


def _read(stream: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(stream, min(size - len(data), _PIECE))
        if not piece:
            raise EOFError("the other side is gone")
        data += piece
    return bytes(data)
