"""Weights in the safetensors format: a length, a JSON table of names, types, shapes and places, then the numbers."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_records import Tensor

_KINDS = {
    "F16": ("float16", "<f2"), "BF16": ("bfloat16", "<u2"), "F32": ("float32", "<f4"), "F64": ("float64", "<f8"),
    "U8": ("uint8", "|u1"), "I8": ("int8", "|i1"), "I16": ("int16", "<i2"), "I32": ("int32", "<i4"),
    "I64": ("int64", "<i8"), "BOOL": ("bool", "|u1"),
}  # fmt: skip
_MOST_TABLE = 100_000_000  # bytes, as the format's own library has it


def is_safetensors(head: bytes) -> bool:
    """True for the first 16 bytes of such a file."""
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _MOST_TABLE


def read_safetensors(data: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        InputError: it is damaged, holds numbers of a type that no float model has, or tensors that overlap.
    """
    length = int.from_bytes(data[:8], "little")
    if length > min(_MOST_TABLE, len(data) - 8):
        raise InputError(f"{name} is a damaged safetensors file: its table is longer than the file")
    try:
        table = json.loads(data[8 : 8 + length].decode("utf-8"))
        table.pop("__metadata__", None)
        found = {str(key): _tensor(entry, data, 8 + length) for key, entry in table.items()}
        places = sorted(tuple(entry["data_offsets"]) for entry in table.values())
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} is a damaged safetensors file: {' '.join(str(error).split())[:200]}") from error
    if any(end > begin for (_, end), (begin, _) in pairwise(places)):
        raise InputError(f"{name} is a damaged safetensors file: tensors lie over one another")
    return found


def _tensor(entry: dict[str, Any], data: bytes, base: int) -> Tensor:
    if entry["dtype"] not in _KINDS:
        raise InputError(f"the file holds a tensor of {str(entry['dtype'])[:20]}: save the float model")
    kind, layout = _KINDS[entry["dtype"]]
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if any(type(n) is not int or n < 0 for n in (*shape, begin, end)) or len(shape) > 16:
        raise ValueError("a tensor of no shape")
    if end - begin != math.prod(shape) * np.dtype(layout).itemsize or base + end > len(data):
        raise ValueError("a tensor whose shape is not that of its bytes")
    return Tensor(kind, np.frombuffer(data[base + begin : base + end], layout).reshape(shape))
