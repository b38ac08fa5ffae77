"""Arrays in numpy's .npz format that somebody else may have written."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.system.archives import ForeignZip
from edgeguard.system.foreign import parsing

_MOST_ARRAYS = 100_000
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def foreign_arrays(source: Path | bytes, most_bytes: int) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, by name. `numpy.load` unpacks what it holds without a bound.

    Args:
        source: the file, or its bytes.
        most_bytes: that its arrays may have in all.

    Raises:
        InputError: it cannot be read, is larger, or holds more than plain arrays.

    Example:
        >>> stream = io.BytesIO()
        >>> np.savez(stream, rows=np.arange(3))
        >>> foreign_arrays(stream.getvalue(), 1000)["rows"]
        array([0, 1, 2])
    """
    with ForeignZip(source, most_members=_MOST_ARRAYS) as archive:
        if sum(entry.file_size for entry in archive.entries) > most_bytes:
            raise InputError(f"its arrays have more than {most_bytes} bytes")
        return {
            entry.filename.removesuffix(".npy"): _array(archive.read(entry, most_bytes)) for entry in archive.entries
        }


def _array(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    with parsing("an array"):
        shape, by_column, dtype = _HEADERS[npy.read_magic(stream)](stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError("it has not the size that it says")
        flat = np.frombuffer(data, dtype, offset=stream.tell()) if len(data) > stream.tell() else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if by_column else "C").copy()
