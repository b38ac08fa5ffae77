"""The native kernel through ctypes, where it was built; the numpy definition serves everywhere else.

Both give the same bytes (`tests/guard/test_kernel.py` forces each instruction set). ctypes releases the GIL.
"""

import ctypes
import importlib.metadata
import os
import platform
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.tables import Table

_ABI = 2
_FILE = "_kernel.so"

#: Instruction sets by the number that the library knows them by, slowest first.
INSTRUCTION_SETS = ("neon",) if platform.machine() in ("aarch64", "arm64") else ("sse4.1", "avx2", "avx512")


def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that can run here, slowest first; empty without the native library."""
    library = _library()
    if library is None:
        return ()
    return tuple(name for number, name in enumerate(INSTRUCTION_SETS) if library.eg_usable(number))


def sanitize_native(
    planes: NDArray[np.uint8], tables: tuple[Table, ...], instruction_set: str | None = None
) -> NDArray[np.uint8]:
    """Sanitise a frame of any size, HxWx1 or HxWx3, whose pixels are contiguous in each row.

    Args:
        planes: uint8; rows may have any stride.
        tables: one for each channel, natural order.
        instruction_set: one of `instruction_sets()`, by default the fastest.

    Raises:
        RuntimeError: the library is not there, or there is no memory.
    """
    library, usable = _library(), instruction_sets()
    if library is None or not usable:
        raise RuntimeError("the native kernel is not installed")
    height, width, channels = planes.shape
    if planes.strides[1:] != (channels, 1):
        planes = np.ascontiguousarray(planes)
    steps = np.array(tables[:channels], dtype=np.uint8)
    out = np.empty((height, width, channels), np.uint8)
    number = INSTRUCTION_SETS.index(instruction_set or usable[-1])
    status = library.eg_sanitize(
        planes.ctypes.data, planes.strides[0], out.ctypes.data, out.strides[0],
        width, height, channels, steps.ctypes.data, number,
    )  # fmt: skip
    if status != 0:
        raise RuntimeError(f"the native kernel failed with status {status}")
    return out


@cache
def _library() -> ctypes.CDLL | None:
    """The library, or None: not built, switched off with EDGEGUARD_KERNEL=numpy, or of another version."""
    if os.environ.get("EDGEGUARD_KERNEL") == "numpy":
        return None
    for path in _candidates():
        if not path.is_file():
            continue
        try:
            library = ctypes.CDLL(str(path))
            if library.eg_abi() != _ABI:
                continue
        except (OSError, AttributeError):
            continue
        pointer, stride, number = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
        library.eg_sanitize.argtypes = [pointer, stride, pointer, stride, number, number, number, pointer, number]
        return library
    return None


def _candidates() -> list[Path]:
    """Beside this file in a wheel; in site-packages where the checkout is installed in editable form."""
    places = [Path(__file__).with_name(_FILE)]
    try:
        places.append(Path(str(importlib.metadata.distribution("edgeguard").locate_file(f"edgeguard/guard/{_FILE}"))))
    except importlib.metadata.PackageNotFoundError:
        pass
    return places
