"""JPEG bytes to requantised frames inside libjpeg-turbo's decoder, through the native library.

libjpeg-turbo is found at run time: the system's (ABI 62), else the copy that comes with Pillow. Nothing is linked, so
one wheel serves every distribution and security updates of libjpeg reach us without a release.
"""

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box
from edgeguard.dct.native_kernel import address, load_library, set_number, steps
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import JpegError
from edgeguard.jpeg.header import JpegInfo
from edgeguard.jpeg.tables import Table

SONAME = "libjpeg.so.62"
_NO_MEMORY, _MESSAGE_LENGTH = -2, 200
#: Luma samples for each chroma sample: down, across.
_CHROMA_SHARE = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}
_TOO_SMALL = b"the room is too small"  # jpeg_abi.cpp


def scaled(size: int, scale: int) -> int:
    """A side of the frame after decoding at 1/scale: rounded up, as libjpeg does."""
    return -(-size // scale)


@cache
def libjpeg_path() -> str | None:
    """The libjpeg-turbo that serves, or None: neither is there, or the native library is not."""
    library = _library()
    if library is None:
        return None
    for path in _candidates():
        if library.eg_jpeg_open(path.encode()):
            return path
    return None


def frame_native(data: bytes, info: JpegInfo, profile: GuardProfile, scale: int) -> NDArray[np.uint8]:
    """Requantise and decode at 1/scale (1, 2 or 4) to RGB.

    Raises:
        JpegError: libjpeg cannot read the file, or its data are broken.
        RuntimeError: no libjpeg was found, or there is no memory.
    """
    return _frame(data, info, steps(profile), scale)


def decode_native(data: bytes, info: JpegInfo, scale: int) -> NDArray[np.uint8]:
    """Decode at 1/scale (1, 2 or 4) to RGB; a file whose picture is not all there is an error.

    The file's own tables stand for a profile's, so that no coefficient changes.

    Raises:
        JpegError: libjpeg cannot read the file, or its data are broken.
        RuntimeError: no libjpeg was found, or there is no memory.
    """
    tables = info.tables if len(info.tables) == 3 else info.tables * 3
    return _frame(data, info, b"".join(bytes(table) for table in tables), scale)


def tensor_native(
    data: bytes,
    info: JpegInfo,
    profile: GuardProfile,
    scale: int,
    crop: Box,
    out: NDArray[np.uint8],
    *,
    signed: bool = False,
    instruction_set: str | None = None,
) -> None:
    """Requantise, decode at 1/scale, crop (a box of the whole frame) and resize by area into `out`, row by row.

    The crop is at least `scale` times as large as `out`.

    Raises:
        JpegError: libjpeg cannot read the file, or its data are broken.
        RuntimeError: no libjpeg was found, or there is no memory.
    """
    message = ctypes.create_string_buffer(_MESSAGE_LENGTH)
    status = _ready().eg_jpeg_tensor(
        data, len(data), steps(profile), scale, scaled(info.width, scale), scaled(info.height, scale),
        crop.left, crop.top, crop.width, crop.height, address(out), out.strides[0], out.shape[1], out.shape[0],
        SIGN if signed else 0, set_number(instruction_set), message,
    )  # fmt: skip
    _check(status, message)


def indices_native(data: bytes, info: JpegInfo, tables: tuple[Table, ...]) -> list[NDArray[np.int16]]:
    """Requantise and copy each component's indices, (rows, columns, 64) in natural order; blocks of padding left out.

    Raises:
        JpegError: libjpeg cannot read the file, or its data are broken.
        RuntimeError: no libjpeg was found.
    """
    down, across = _CHROMA_SHARE.get(info.sampling, (1, 1))
    sizes = [(info.height, info.width)]
    if info.sampling != "gray":
        sizes += [(scaled(info.height, down), scaled(info.width, across))] * 2
    planes = [np.empty((scaled(height, 8), scaled(width, 8), 64), np.int16) for height, width in sizes]
    grid = (ctypes.c_int * (2 * len(planes)))(*(side for plane in planes for side in plane.shape[:2]))
    targets = (ctypes.c_void_p * len(planes))(*(plane.ctypes.data for plane in planes))
    message = ctypes.create_string_buffer(_MESSAGE_LENGTH)
    packed = b"".join(bytes(table) for table in tables)
    status = _ready().eg_jpeg_indices(
        data, len(data), packed, info.width, info.height, len(planes), grid, targets, set_number(), message
    )
    _check(status, message)
    return planes


def file_native(data: bytes, info: JpegInfo, profile: GuardProfile) -> bytes:
    """Requantise and write the JPEG again; sampling and APP segments are kept.

    Raises:
        JpegError: libjpeg cannot read the file, or its data are broken.
        RuntimeError: no libjpeg was found.
    """
    # 64 coefficients of at most 26 bits each a block, with the stuffed bytes: more than any baseline file needs.
    blocks = 3 * (scaled(info.width, 8) + 8) * (scaled(info.height, 8) + 8)
    capacity = min(2 * len(data), 416 * blocks) + (1 << 16)
    message = ctypes.create_string_buffer(_MESSAGE_LENGTH)
    for room in (capacity, 416 * blocks + len(data) + (1 << 16)):
        out = ctypes.create_string_buffer(room)
        length = _ready().eg_jpeg_file(
            data, len(data), steps(profile), info.width, info.height, ctypes.addressof(out), room, set_number(), message
        )
        if length > 0:
            return out.raw[:length]
        if message.value != _TOO_SMALL:  # only a file that was read whole earns more room
            break
    _check(length, message)
    raise RuntimeError("libjpeg wrote an empty file")


def _frame(data: bytes, info: JpegInfo, tables: Any, scale: int) -> NDArray[np.uint8]:
    width, height = scaled(info.width, scale), scaled(info.height, scale)
    out = np.empty((height, width, 3), np.uint8)
    message = ctypes.create_string_buffer(_MESSAGE_LENGTH)
    status = _ready().eg_jpeg_frame(
        data, len(data), tables, scale, width, height, address(out), out.strides[0], set_number(), message
    )
    _check(status, message)
    return out


def _ready() -> ctypes.CDLL:
    library = _library()
    if library is None or libjpeg_path() is None:
        raise RuntimeError("no libjpeg-turbo was found")
    return library


def _check(status: int, message: ctypes.Array[ctypes.c_char]) -> None:
    if status >= 0:
        return
    if status == _NO_MEMORY:
        raise RuntimeError("the native library has no memory")
    text = message.value.decode("ascii", "replace")
    raise JpegError(f"the JPEG does not decode: {text or 'its size is out of range'}")


@cache
def _library() -> ctypes.CDLL | None:
    library = load_library()
    if library is None:
        return None
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    source: list[Any] = [ctypes.c_char_p, size, pointer]  # bytes, tables
    library.eg_jpeg_open.argtypes = [ctypes.c_char_p]
    library.eg_jpeg_frame.argtypes = [*source, *[number] * 3, pointer, ctypes.c_ssize_t, number, pointer]
    crop_and_target: list[Any] = [*[number] * 4, pointer, ctypes.c_ssize_t, *[number] * 4]
    library.eg_jpeg_tensor.argtypes = [*source, *[number] * 3, *crop_and_target, pointer]
    library.eg_jpeg_indices.argtypes = [*source, *[number] * 3, pointer, pointer, number, pointer]
    library.eg_jpeg_file.argtypes = [*source, number, number, pointer, size, number, pointer]
    library.eg_jpeg_file.restype = ctypes.c_ssize_t
    return library


def _candidates() -> list[str]:
    """The system's library by its soname, then Pillow's own copy, which wheels keep in a folder beside the package."""
    folders = [Path(entry) / "pillow.libs" for entry in sys.path if entry]
    return [SONAME, *(str(path) for folder in folders for path in sorted(folder.glob("libjpeg-*.so.62*")))]
