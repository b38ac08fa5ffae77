"""Reading a checkpoint: tensors of a state_dict as arrays, with torch's formats read here and not by torch.

torch's safe loader has had holes of its own. What it reads is a pickle whose words are few (`pickle_words`) and bytes
beside it; here that pickle makes nothing but records of what it says (`pickle_records`), and each record is compared
with the bytes that are there.
"""

import io
import re
import struct
from itertools import pairwise
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard_converters.load.archive import read_archive
from edgeguard_converters.load.pickle_records import STORAGES, Reader, Stub, Tensor
from edgeguard_converters.load.pickle_words import check_objects, check_pickle
from edgeguard_converters.load.refused import PickleRefused

__all__ = ["STORAGES", "Stub", "Tensor", "check_storages", "read_checkpoint"]

_MAGIC = 0x1950A86A20F9469CFC6C
#: No checkpoint names these, and every pickle that was made to run code does. They would not run here either; a file
#: that tries is not worth converting.
_TELLTALES = re.compile(
    r"(builtins|__builtin__) (eval|exec|execfile|compile|open|__import__|breakpoint|input|globals|vars)"
    r"|(os|posix|nt|io|_io|pty|sys|subprocess|shutil|socket|importlib|runpy|code|codeop|ctypes|webbrowser|platform"
    r"|commands|pdb|bdb|pip|timeit|cProfile|profile|trace|marshal|signal|urllib|http|ftplib|smtplib|distutils"
    r"|setuptools|ensurepip|zipimport|pickle|_pickle|torch\.hub|torch\.utils\.cpp_extension"
    r")(\.[\w.]+)? \S+"
)


def read_checkpoint(data: bytes, name: str, *, objects: bool = False) -> Any:
    """What a file of `torch.save` holds: containers, texts, numbers and `Tensor`s.

    Args:
        data: of the file, in the zip format or the one before it.
        name: of the file, for messages.
        objects: it may name classes; their objects become inert `Stub`s. Without, such a file is refused.

    Raises:
        PickleRefused: the pickle in it does more than that.
        InputError: it is damaged, or claims tensors that are not in it.
    """
    try:
        read = _read_zip if data[:4] == b"PK\x03\x04" else _read_legacy
        return read(data, name, objects)
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
        Reader(io.BytesIO(program), storages).load()
    except Exception as error:
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _read_zip(data: bytes, name: str, objects: bool) -> Any:
    members = read_archive(data, name)
    pickles = [member for member in members if member.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].count("/") != 1:
        raise InputError(f"{name} holds {len(pickles)} pickles; a state_dict has one")
    root = pickles[0].partition("/")[0]
    if members.get(f"{root}/byteorder", b"little") != b"little":
        raise InputError(f"{name} was written by a machine of the other byte order")
    program = members[pickles[0]]
    _checked_end(program, name, objects)
    prefix = f"{root}/data/"
    storages = {member[len(prefix) :]: found for member, found in members.items() if member.startswith(prefix)}
    return _load(program, storages, name)[0]


def _read_legacy(data: bytes, name: str, objects: bool) -> Any:
    """Four pickles and a fifth with the order of the storages, then those, each behind its length."""
    ends = [0]
    for part in range(5):
        ends.append(ends[-1] + _checked_end(data[ends[-1] :], name, objects and part == 3))
    parts = [data[start:end] for start, end in pairwise(ends)]
    magic, _, _, keys = (_load(parts[i], {}, name)[0] for i in (0, 1, 2, 4))
    if magic != _MAGIC:
        raise InputError(f"{name} is a pickle, but none of torch.save")
    storages: dict[str, bytes] = {}
    _, sizes = _load(parts[3], None, name)
    place = ends[5]
    for key in keys:
        (count,) = struct.unpack_from("<q", data, place)
        kind = sizes.seen.get(key)
        if kind is None or count < 0:
            raise InputError(f"{name} holds a storage that nothing names")
        size = count * np.dtype(STORAGES[kind][1]).itemsize
        storages[key] = data[place + 8 : place + 8 + size]
        place += 8 + size
    return _load(parts[3], storages, name)[0]


def _checked_end(data: bytes, name: str, objects: bool) -> int:
    return check_objects(data, name) if objects else check_pickle(data, name)


def _load(program: bytes, storages: dict[str, bytes] | None, name: str) -> tuple[Any, Reader]:
    reader = Reader(io.BytesIO(program), storages)
    found = reader.load()
    for named in reader.named:
        if _TELLTALES.fullmatch(named):
            shown = named.replace(" ", ".")[:80]
            raise PickleRefused(f"{name} holds a pickle that would run code ({shown}); refused, its code was not run")
    return found, reader
