"""The native kernel through ctypes, where it was built; the numpy definition serves everywhere else.

Both give the same bytes (`tests/dct/test_kernel.py` forces each instruction set). ctypes releases the GIL.
"""

import ctypes
import importlib.metadata
import os
import platform
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.dct.provable_rounding import effects
from edgeguard.dct.slack import limits, margin_gain, margin_loss
from edgeguard.jpeg.blocks import BLOCK
from edgeguard.jpeg.tables import Table, as_array

_ABI = 7
_FILE = "_kernel.so"
_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_COLORS = {None: 0, "rgb": 1, "gray": 2, "ycbcr444": 3, "ycbcr422": 4, "ycbcr420": 5}

#: Instruction sets by the number that the library knows them by, slowest first.
INSTRUCTION_SETS = ("neon",) if platform.machine() in ("aarch64", "arm64") else ("sse4.1", "avx2", "avx512")


class _Options(ctypes.Structure):
    """`Options` of native/kernel.h."""

    _fields_ = (
        ("room_before", ctypes.c_int32),
        ("room_after", ctypes.c_int32),
        ("limits", ctypes.c_void_p),
        ("effects", ctypes.c_void_p),
        ("margins", ctypes.c_void_p),
        ("loss", ctypes.c_void_p),
        ("gain", ctypes.c_void_p),
    )


@cache
def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that can run here, slowest first; empty without the native library."""
    library = load_library()
    if library is None:
        return ()
    return tuple(name for number, name in enumerate(INSTRUCTION_SETS) if library.eg_usable(number))


def sanitize_native(
    rgb: NDArray[np.uint8],
    profile: GuardProfile,
    instruction_set: str | None = None,
    *,
    which: Pass = "only",
    margins: NDArray[np.uint16] | None = None,
) -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame of any size.

    Args:
        rgb: rows may have any stride; other views are copied.
        profile: of any colour.
        which: which pass it is; it matters where the profile has room or proof levels.
        margins: `empty_margins` of the frame's size, which pass 2 fills with the margins of its blocks.
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
        _options(profile, which, margins), address(out), out.strides[0], number,
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
    which: Pass = "only",
    margins: NDArray[np.uint16] | None = None,
) -> None:
    """Sanitise the blocks under a crop, resize it by area and write it: in one pass.

    Args:
        rgb: uint8 HxWx3.
        profile: of any colour, or None to resize only.
        crop: the part of the frame, at least as large as the output.
        out: hxwx3, pixels contiguous in each row; written in place.
        signed: write the bytes of int8 levels minus 128.
        which: which pass it is; it matters where the profile has room.
        margins: `empty_margins` of the blocks under the crop, which pass 2 fills with their margins.

    Raises:
        RuntimeError: the library is not there, or there is no memory.
    """
    library, number = _choose(instruction_set)
    rgb = _with_whole_rows(rgb)
    status = library.eg_tensor(
        address(rgb), rgb.strides[0], rgb.shape[1], rgb.shape[0], _COLORS[profile.color if profile else None],
        steps(profile), _options(profile, which, margins), crop.left, crop.top, crop.width, crop.height,
        address(out), out.strides[0], out.shape[1], out.shape[0], SIGN if signed else 0, number,
    )  # fmt: skip
    _check(status)


def empty_margins(profile: GuardProfile, width: int, height: int) -> NDArray[np.uint16]:
    """Room for the margins of a frame's blocks: (channels, block rows, block columns rounded up to 4).

    Pass 2 writes 1/256 levels, as `slack.quantizer_margins` has them; columns beyond the frame hold nothing.
    """
    columns = (width + 4 * BLOCK - 1) // (4 * BLOCK) * 4
    return np.empty((1 if profile.color == "gray" else 3, -(-height // BLOCK), columns), np.uint16)


def _options(profile: GuardProfile | None, which: Pass, margins: NDArray[np.uint16] | None) -> _Options | None:
    """What the pass does beside sanitising, or None."""
    if profile is None or not profile.is_pixel_domain:
        return None
    helps = which == "first" and profile.proof_levels > 0
    if not (profile.room or helps or margins is not None):
        return None
    both_effects, loss, gain = _shared_arrays()
    allowed = _limits(profile.component_tables, profile.proof_levels) if helps else None
    options = _Options(
        room_before=profile.room if which != "second" else 0,
        room_after=profile.room if which != "first" else 0,
        limits=None if allowed is None else address(allowed),
        effects=address(both_effects),
        margins=None if margins is None else address(margins),
        loss=address(loss),
        gain=address(gain),
    )
    options.kept = (allowed, margins)  # for as long as the library may read them
    return options


@lru_cache(maxsize=16)
def _limits(tables: tuple[Table, Table, Table], levels: int) -> NDArray[np.int16]:
    return np.stack([limits(as_array(table), levels) for table in tables]).astype(np.int16)


@cache
def _shared_arrays() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Effects by coefficient and by pixel, losses and gains, as the library takes them."""
    by_pixel = effects()
    both = np.ascontiguousarray(np.stack([by_pixel.T, by_pixel]))
    return both, margin_loss().astype(np.int16), margin_gain().astype(np.int16)


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
        source.append(ctypes.POINTER(_Options))
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
