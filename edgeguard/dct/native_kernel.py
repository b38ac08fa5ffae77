"""The native kernel through ctypes, where it was built; the numpy definition serves everywhere else.

Both give the same bytes (`tests/dct/test_kernel.py` forces each instruction set). ctypes releases the GIL.
"""

import ctypes
import importlib.metadata
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box
from edgeguard.dct.profile import GuardProfile

_ABI = 6
_FILE = "_kernel.so"
_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_COLORS = {None: 0, "rgb": 1, "gray": 2, "ycbcr444": 3, "ycbcr422": 4, "ycbcr420": 5}

#: Instruction sets by the number that the library knows them by, slowest first.
INSTRUCTION_SETS = ("neon",) if platform.machine() in ("aarch64", "arm64") else ("sse4.1", "avx2", "avx512")


@cache
def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that can run here, slowest first; empty without the native library."""
    library = load_library()
    if library is None:
        return ()
    return tuple(name for number, name in enumerate(INSTRUCTION_SETS) if library.eg_usable(number))


def sanitize_native(
    rgb: NDArray[np.uint8], profile: GuardProfile, instruction_set: str | None = None
) -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame of any size.

    Args:
        rgb: rows may have any stride; other views are copied.
        profile: of any colour.
        instruction_set: one of `instruction_sets()`, by default the fastest.

    Raises:
        RuntimeError: the library is not there, or there is no memory.
    """
    library, number = _choose(instruction_set)
    rgb = _with_whole_rows(rgb)
    height, width = rgb.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    status = library.eg_sanitize(
        address(rgb), rgb.strides[0], width, height, _COLORS[profile.color], steps(profile),
        address(out), out.strides[0], number,
    )  # fmt: skip
    _check(status)
    return out


def tensor_native(
    rgb: NDArray[np.uint8],
    profile: GuardProfile | None,
    crop: Box,
    out: NDArray[np.uint8],
    *,
    signed: bool = False,
    instruction_set: str | None = None,
) -> None:
    """Sanitise the blocks under a crop, resize it by area and write it: in one pass.

    Args:
        rgb: uint8 HxWx3.
        profile: of any colour, or None to resize only.
        crop: the part of the frame, at least as large as the output.
        out: hxwx3, pixels contiguous in each row; written in place.
        signed: write the bytes of int8 levels minus 128.

    Raises:
        RuntimeError: the library is not there, or there is no memory.
    """
    library, number = _choose(instruction_set)
    rgb = _with_whole_rows(rgb)
    status = library.eg_tensor(
        address(rgb), rgb.strides[0], rgb.shape[1], rgb.shape[0], _COLORS[profile.color if profile else None],
        steps(profile), crop.left, crop.top, crop.width, crop.height,
        address(out), out.strides[0], out.shape[1], out.shape[0], SIGN if signed else 0, number,
    )  # fmt: skip
    _check(status)


@cache
def load_library() -> ctypes.CDLL | None:
    """The library, or None: not built, switched off with EDGEGUARD_KERNEL=numpy, or not loadable (`load_failure`)."""
    if switched_off():
        return None
    for path in _candidates():
        try:
            library = _open(path)
        except OSError:
            continue
        pointer, stride, number = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int
        source: list[Any] = [pointer, stride, number, number, number, pointer]  # pixels, size, colour, tables
        library.eg_sanitize.argtypes = [*source, pointer, stride, number]
        library.eg_tensor.argtypes = [*source, *[number] * 4, pointer, stride, *[number] * 4]
        return library
    return None


def set_number(instruction_set: str | None = None) -> int:
    """The library's number of an instruction set; by default of the fastest that can run here."""
    return INSTRUCTION_SETS.index(instruction_set or instruction_sets()[-1])


def switched_off() -> bool:
    """True where the user wants the numpy kernel."""
    return os.environ.get("EDGEGUARD_KERNEL") == "numpy"


def load_failure() -> str | None:
    """Why a library that is there does not serve: its path and a reason. None where one serves, or none is there."""
    if switched_off() or load_library() is not None:
        return None
    for path in _candidates():
        try:
            _open(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = str(error).removeprefix(f"{path}: ")
            return f"{path}: {reason}"
    return None


def _open(path: Path) -> ctypes.CDLL:
    """Load a library of this interface.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be loaded, or is another library.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    machine = _elf_machine(path)
    if machine is not None and machine != platform.machine():
        # The loader itself says "No such file or directory" of a file that is there.
        raise OSError(f"built for {machine}, this is {platform.machine()}")
    try:
        library = ctypes.CDLL(str(path))
        version = library.eg_abi()
    except AttributeError as error:
        raise OSError("not a kernel of EdgeGuard") from error
    if version != _ABI:
        raise OSError(f"its interface has version {version}, this EdgeGuard needs {_ABI}")
    return library


def _elf_machine(path: Path) -> str | None:
    """The machine that an ELF file was built for, where it is one of those that have a wheel."""
    with path.open("rb") as file:
        head = file.read(20)
    return _ELF_MACHINES.get(int.from_bytes(head[18:20], "little")) if head[:4] == b"\x7fELF" else None


def _choose(instruction_set: str | None) -> tuple[ctypes.CDLL, int]:
    library, usable = load_library(), instruction_sets()
    if library is None or not usable:
        raise RuntimeError("the native kernel is not installed")
    return library, set_number(instruction_set)


def _check(status: int) -> None:
    if status != 0:
        raise RuntimeError("the native kernel " + ("has no memory" if status == -2 else "refused its arguments"))


def _with_whole_rows(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return rgb if rgb.strides[1:] == (3, 1) else np.ascontiguousarray(rgb)


def address(array: NDArray[np.generic]) -> int:
    """Where the array's first element lies."""
    return int(array.__array_interface__["data"][0])


def steps(profile: GuardProfile | None) -> bytes | None:
    """The three tables as the library takes them: 192 bytes, natural order."""
    return None if profile is None else profile.table_bytes


def _candidates() -> list[Path]:
    """Beside this file in a wheel; in site-packages where the checkout is installed in editable form."""
    places = [Path(__file__).with_name(_FILE)]
    try:
        places.append(Path(str(importlib.metadata.distribution("edgeguard").locate_file(f"edgeguard/dct/{_FILE}"))))
    except importlib.metadata.PackageNotFoundError:
        pass
    return places
