"""The orientation that a camera wrote into a JPEG (Exif 2.32, tag 0x0112), and turning a frame by it."""

import struct

import numpy as np
from numpy.typing import NDArray

_HEADER = b"Exif\0\0"
_ORIENTATION, _SHORT = 0x0112, 3
_MOST_ENTRIES = 512  # a camera writes a dozen; the orientation is one of the first


def exif_orientation(payload: bytes) -> int:
    """1..8 from an APP1 payload; 1 (upright) where it says nothing that can be read.

    Example:
        >>> exif_orientation(b"")
        1
    """
    if not payload.startswith(_HEADER):
        return 1
    tiff = payload[len(_HEADER) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * min(count, _MOST_ENTRIES), len(tiff) - 11), 12):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, entry)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(order + "H", tiff, entry + 8)
            return value if kind == _SHORT and values == 1 and 1 <= value <= 8 else 1
    return 1


def turned(frame: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The upright frame of a stored one; orientations 5 to 8 swap height and width."""
    if orientation >= 5:
        frame = frame.transpose(1, 0, 2)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    if upside_down:
        frame = frame[::-1]
    if mirrored:
        frame = frame[:, ::-1]
    return np.ascontiguousarray(frame)
