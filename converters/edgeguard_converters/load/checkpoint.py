"""Reading a checkpoint: tensors of a state_dict as arrays, with torch's formats read here and not by torch.

torch's safe loader has had holes of its own. What it reads is a pickle whose words are few (`pickle_words`) and bytes
beside it; here that pickle makes nothing but records of what it says, and each record is compared with the bytes that
are there.
"""

import io
import math
import pickle
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_archive
from edgeguard_converters.load.pickle_words import check_pickle
from edgeguard_converters.load.refused import PickleRefused

#: Numpy's type of each of torch's storages; numpy has no bfloat16, whose bits travel as integers.
STORAGES = {
    "HalfStorage": ("float16", "<f2"), "FloatStorage": ("float32", "<f4"), "DoubleStorage": ("float64", "<f8"),
    "BFloat16Storage": ("bfloat16", "<u2"), "ByteStorage": ("uint8", "|u1"), "CharStorage": ("int8", "|i1"),
    "ShortStorage": ("int16", "<i2"), "IntStorage": ("int32", "<i4"), "LongStorage": ("int64", "<i8"),
    "BoolStorage": ("bool", "|u1"),
}  # fmt: skip
_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_BYTES = 1 << 33


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as it stands in the file.

    Attributes:
        kind: `float32`, as torch names it.
        values: its numbers; the bits of a bfloat16.
    """

    kind: str
    values: NDArray[Any]


def read_checkpoint(data: bytes, name: str) -> Any:
    """What a file of `torch.save` holds: containers, texts, numbers and `Tensor`s.

    Args:
        data: of the file, in the zip format or the one before it.
        name: of the file, for messages.

    Raises:
        PickleRefused: the pickle in it does more than that.
        InputError: it is damaged, or claims tensors that are not in it.
    """
    try:
        return _read_zip(data, name) if data[:4] == b"PK\x03\x04" else _read_legacy(data, name)
    except (PickleRefused, InputError):
        raise
    except Exception as error:
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error


def check_storages(program: bytes, storages: dict[str, bytes], name: str) -> None:
    """Refuse a checked pickle of TorchScript whose tensors are larger than their bytes.

    Raises:
        InputError: it holds such a tensor, or names bytes that are not there.
    """
    try:
        _Reader(io.BytesIO(program), storages).load()
    except Exception as error:
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _read_zip(data: bytes, name: str) -> Any:
    members = read_archive(data, name)
    pickles = [member for member in members if member.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].count("/") != 1:
        raise InputError(f"{name} holds {len(pickles)} pickles; a state_dict has one")
    root = pickles[0].partition("/")[0]
    if members.get(f"{root}/byteorder", b"little") != b"little":
        raise InputError(f"{name} was written by a machine of the other byte order")
    program = members[pickles[0]]
    check_pickle(program, name)
    prefix = f"{root}/data/"
    storages = {member[len(prefix) :]: found for member, found in members.items() if member.startswith(prefix)}
    return _Reader(io.BytesIO(program), storages).load()


def _read_legacy(data: bytes, name: str) -> Any:
    """Four pickles and a fifth with the order of the storages, then those, each behind its length."""
    ends = [0]
    for _ in range(5):
        ends.append(ends[-1] + check_pickle(data[ends[-1] :], name))
    parts = [data[start:end] for start, end in pairwise(ends)]
    magic, _, _, keys = (_Reader(io.BytesIO(parts[i]), {}).load() for i in (0, 1, 2, 4))
    if magic != _MAGIC:
        raise InputError(f"{name} is a pickle, but none of torch.save")
    storages: dict[str, bytes] = {}
    sizes = _Reader(io.BytesIO(parts[3]), None)
    sizes.load()
    place = ends[5]
    for key in keys:
        (count,) = struct.unpack_from("<q", data, place)
        kind = sizes.seen.get(key)
        if kind is None or count < 0:
            raise InputError(f"{name} holds a storage that nothing names")
        size = count * np.dtype(STORAGES[kind][1]).itemsize
        storages[key] = data[place + 8 : place + 8 + size]
        place += 8 + size
    return _Reader(io.BytesIO(parts[3]), storages).load()


class _Mapping(dict[Any, Any]):
    """An OrderedDict of the file; what is written onto it beside its items is left behind."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Object:
    """An object of a class of TorchScript; what stands in it was looked at and is left behind."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class _Storage:
    kind: str
    data: bytes | None


class _Reader(pickle.Unpickler):
    """Makes records of what a checked pickle says. `storages` None: only the kinds of storages are of interest."""

    def __init__(self, stream: io.BytesIO, storages: dict[str, bytes] | None) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storages = storages
        self.seen: dict[str, str] = {}
        self._total = 0

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return type("_Object", (_Object,), {})
        return _Name(f"{module} {name}", self)

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key = pid[0], pid[1], str(pid[2])
        if what != "storage" or not isinstance(kind, _Name) or kind.storage not in STORAGES:
            raise ValueError("a reference to what is no storage")
        self.seen[key] = kind.storage
        if self._storages is None:
            return _Storage(kind.storage, None)
        if key not in self._storages:
            raise ValueError(f"the storage {key[:20]} is not in the file")
        return _Storage(kind.storage, self._storages[key])

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        """A tensor of a storage, which must hold all of it."""
        if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
            raise ValueError("a tensor of no storage")
        kind, layout = STORAGES[storage.kind]
        if storage.data is None:
            return Tensor(kind, np.empty(0, layout))
        item, count = np.dtype(layout).itemsize, math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
        self._total += count * item
        if (last + 1) * item > len(storage.data) or len(size) > 16 or self._total > _MOST_BYTES:
            raise ValueError("a tensor that is larger than what the file holds of it")
        flat = np.frombuffer(storage.data[: len(storage.data) // item * item], layout)
        if not count:
            return Tensor(kind, np.empty(size, layout))
        steps = tuple(step * item for step in stride)
        return Tensor(kind, np.lib.stride_tricks.as_strided(flat[offset:], tuple(size), steps, writeable=False))


class _Name:
    """What a pickle imports: a name, which does a few things when it is called and nothing else."""

    def __init__(self, name: str, reader: _Reader) -> None:
        self._name, self._reader = name, reader

    @property
    def storage(self) -> str:
        """The name without its module."""
        return self._name.partition(" ")[2]

    def __call__(self, *values: Any) -> Any:
        if self._name == "collections OrderedDict":
            return _Mapping(*values[:1])
        if self._name in ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"):
            return self._reader.tensor(*values[:4])
        if self._name == "torch._utils _rebuild_parameter":
            return values[0]
        if self._name == "torch Size" or self._name.startswith("torch.jit._pickle "):
            return tuple(values[0])
        return str(values[:1])

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a name that is written to")

    def __reduce__(self) -> NoReturn:
        raise TypeError("names are not written")
