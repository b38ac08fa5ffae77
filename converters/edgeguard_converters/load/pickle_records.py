"""A pickle turned into records of what it says. Nothing that it names is imported, made or called.

Names of torch's tensors become `Tensor`, known containers become containers, and every other object becomes a `Stub`: a
record of its class's name, its arguments and its state.
"""

import io
import math
import pickle
import re
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

#: Numpy's type of each of torch's storages; numpy has no bfloat16, whose bits travel as integers.
STORAGES = {
    "HalfStorage": ("float16", "<f2"), "FloatStorage": ("float32", "<f4"), "DoubleStorage": ("float64", "<f8"),
    "BFloat16Storage": ("bfloat16", "<u2"), "ByteStorage": ("uint8", "|u1"), "CharStorage": ("int8", "|i1"),
    "ShortStorage": ("int16", "<i2"), "IntStorage": ("int32", "<i4"), "LongStorage": ("int64", "<i8"),
    "BoolStorage": ("bool", "|u1"), "ComplexFloatStorage": ("complex64", "<c8"),
    "ComplexDoubleStorage": ("complex128", "<c16"), "QInt8Storage": ("qint8", "|i1"),
    "QUInt8Storage": ("quint8", "|u1"), "QInt32Storage": ("qint32", "<i4"), "UntypedStorage": ("bytes", "|u1"),
}  # fmt: skip
_DTYPES = {kind: layout for kind, layout in STORAGES.values() if kind != "bytes" and not kind.startswith("q")}
_MOST_BYTES = 1 << 33
_MOST_COPIED = 1 << 24  # items and characters that are copied, or as many as the pickle has bytes
_CONTAINERS = {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple}
#: What rebuilds a tensor that holds no plain numbers, and what such a tensor is.
_UNUSABLE = {
    "_rebuild_qtensor": "quantized", "_rebuild_sparse_tensor": "sparse", "_rebuild_nested_tensor": "nested",
    "_rebuild_sparse_csr_tensor": "sparse", "_rebuild_meta_tensor_no_storage": "without numbers (device meta)",
    "_rebuild_wrapper_subclass": "of a tensor class of its own", "_rebuild_device_tensor_from_numpy": "of a device",
}  # fmt: skip


#: Names that `Name` stands for; any other becomes a stub.
_NAMES = re.compile(
    r"torch(\._utils|\._tensor) _rebuild_\w+|torch\.jit\._pickle \w+|torch\.serialization _get_layout"
    r"|torch(\.storage)? (\w+Storage|Size|device|strided|sparse_\w+|per_\w+|\w+_format)"
    r"|torch (b?float\w*|u?int\d+|qu?int\d+\w*|bool|complex\d+)"
    r"|collections (OrderedDict|defaultdict|Counter)|_codecs encode"
)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as it stands in the file.

    Attributes:
        kind: `float32`, as torch names it.
        values: its numbers; the bits of a bfloat16.
    """

    kind: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Unusable:
    """A tensor that holds no plain numbers.

    Attributes:
        why: `quantised`, for messages.
    """

    why: str


class Stub:
    """An object of a class that was not imported: what the pickle says of it.

    Attributes:
        qualified: module and name of its class, as a pickle names it: `argparse Namespace`.
        given: arguments of its constructor, or of the function that would make it.
        state: what was written onto it.
        items: what was put into it, by key.
        members: what was appended to it.
    """

    qualified: ClassVar[str] = ""

    def __new__(cls, *given: Any, **_: Any) -> "Stub":
        """An inert record; the arguments are kept and nothing else happens."""
        made = super().__new__(cls)
        made.given, made.state, made.items, made.members = given, None, {}, []
        return made

    given: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    members: list[Any]

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """As a list's."""
        self.members.append(value)

    def extend(self, values: Any) -> None:
        """As a list's."""
        self.members.extend(values)

    add = append

    def __reduce__(self) -> NoReturn:
        raise TypeError("records are not written")


class Mapping(dict[Any, Any]):
    """A dictionary of a class of its own (OrderedDict); what is written onto it beside its items is left behind."""

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


class Reader(pickle.Unpickler):
    """Makes records of what a checked pickle says.

    Args:
        stream: begins with the pickle.
        storages: bytes of the storages by their keys. None: only the kinds of storages are of interest.

    Attributes:
        seen: the kind of each storage that the pickle names.
        named: what it imports, beside tensors and containers.
    """

    def __init__(self, stream: io.BytesIO, storages: dict[str, bytes] | None) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storages = storages
        self._stubs: dict[str, type[Stub]] = {}
        self.seen: dict[str, str] = {}
        self._total = 0
        self._may_copy = max(_MOST_COPIED, 2 * stream.getbuffer().nbytes)

    @property
    def named(self) -> list[str]:
        """Names of the classes and functions that became stubs."""
        return list(self._stubs)

    def find_class(self, module: str, name: str) -> Any:
        """A record of a name; never what the name stands for."""
        if module.split(".")[0] == "__torch__":
            return type("_Object", (_Object,), {})
        qualified = f"{module} {name}"
        if _NAMES.fullmatch(qualified):
            return Name(qualified, self)
        if module in ("builtins", "__builtin__") and name in _CONTAINERS:
            return _CONTAINERS[name]
        if qualified not in self._stubs:
            self._stubs[qualified] = type("Stub", (Stub,), {"qualified": qualified})
        return self._stubs[qualified]

    def persistent_load(self, pid: Any) -> Any:
        """A storage's bytes; a class whose source the older format holds beside it."""
        if pid[0] == "module":
            return pid[1]
        what, kind, key = pid[0], pid[1], str(pid[2])
        if what != "storage" or not isinstance(kind, Name) or kind.short not in STORAGES:
            raise ValueError("a reference to what is no storage")
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("a storage that is a view of another")
        self.seen[key] = kind.short
        if self._storages is None:
            return _Storage(kind.short, None)
        if key not in self._storages:
            raise ValueError(f"the storage {key[:20]} is not in the file")
        return _Storage(kind.short, self._storages[key])

    def copied(self, value: Any) -> Any:
        """The value, which is about to be copied: a pickle can ask for that again and again in a few bytes."""
        self._may_copy -= len(value) if isinstance(value, (str, bytes, list, dict, set, frozenset)) else 1
        if self._may_copy < 0:
            raise ValueError("it copies its containers too often")
        return value

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, dtype: Any = None) -> Tensor | Unusable:
        """A tensor of a storage, which must hold all of it."""
        if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
            raise ValueError("a tensor of no storage")
        kind, layout = STORAGES[storage.kind]
        if isinstance(dtype, Name):
            kind = dtype.short
            if kind not in _DTYPES:
                return Unusable(kind)
            layout = _DTYPES[kind]
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


class Name:
    """A name of torch's that a pickle imports; it does a few things when it is called and nothing else.

    Attributes:
        qualified: module and name, as the pickle has them.
    """

    def __init__(self, qualified: str, reader: Reader) -> None:
        self.qualified, self._reader = qualified, reader

    @property
    def short(self) -> str:
        """The name without its module."""
        return self.qualified.partition(" ")[2]

    def __call__(self, *values: Any) -> Any:
        """What the function of this name makes of tensors and containers; a text for any other."""
        if self.qualified == "collections OrderedDict":
            return Mapping(*map(self._reader.copied, values[:1]))
        if self.qualified.startswith("collections "):
            return Mapping()
        if self.qualified == "_codecs encode":
            return str(self._reader.copied(values[0])).encode("latin1")
        short = self.short
        if short in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._reader.tensor(*values[:4])
        if short == "_rebuild_tensor_v3":
            storage, offset, size, stride = values[:4]
            return self._reader.tensor(storage, offset, size, stride, values[6])
        if short in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return values[0]
        if short == "_rebuild_from_type_v2" and isinstance(values[0], Name):
            return values[0](*values[2])
        if short.startswith("_rebuild_"):
            return Unusable(_UNUSABLE.get(short, f"made by {short[:60]}"))
        if self.qualified == "torch Size" or self.qualified.startswith("torch.jit._pickle "):
            return tuple(self._reader.copied(values[0]))
        # never the values' `repr`: it doubles with each escape, and what it would be of may hold itself
        return values[0][:100] if values and isinstance(values[0], str) else short

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a name that is written to")

    def __reduce__(self) -> NoReturn:
        raise TypeError("names are not written")
