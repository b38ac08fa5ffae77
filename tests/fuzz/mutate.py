"""Changes that know the structure: a JSON tree, an archive's members, the words of a pickle."""

import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

Members = dict[str, bytes]

#: Numbers at the edges of what counts, shapes and offsets hold.
NUMBERS = (0, 1, -1, 2, 3, 5, 7, 16, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, -(1 << 63))
_VALUES: tuple[Any, ...] = (
    None, True, False, 0.5, -0.0, 1e308, float("inf"), "", "x", "..", "/etc/passwd", "\ud800", "a" * 5000, [], {},
    [1, 2, 3], [[]], {"a": 1}, [None], 10**400,
)  # fmt: skip


def changed_tree(rng: random.Random, tree: Any, words: tuple[str, ...] = ()) -> Any:
    """A copy of a JSON tree in which one or two values, keys or lists are others."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 2)):
        holder: Any = tree
        while isinstance(holder, (dict, list)) and holder:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            inner = holder[key]
            if isinstance(inner, (dict, list)) and inner and rng.random() < 0.85:
                holder = inner
                continue
            _change(rng, holder, key, words)
            break
    return tree


def _change(rng: random.Random, holder: Any, key: Any, words: tuple[str, ...]) -> None:
    way = rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, dict):
        holder[rng.choice((*words, "x", "__class__", ""))] = holder.pop(key)
    elif way == 2 and isinstance(holder, list):
        holder.insert(0, holder[key])
    elif way == 3 and isinstance(holder[key], str) and words:
        holder[key] = rng.choice(words)
    elif way in (3, 4, 5) and isinstance(holder[key], int):
        holder[key] = rng.choice(NUMBERS)
    else:
        holder[key] = rng.choice((*_VALUES, *NUMBERS))


def members_of(data: bytes) -> Members:
    """Names and bytes of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Members) -> bytes:
    """A zip of these, with right checksums; as torch writes it, nothing is packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def changed_members(rng: random.Random, members: Members) -> Members:
    """Members that are gone, called otherwise, shorter, longer or with other bytes."""
    name = rng.choice(list(members))
    data = members[name]
    way = rng.randrange(5)
    if way == 0:
        return {key: value for key, value in members.items() if key != name}
    if way == 1:
        return {(f"{name}x" if key == name else key): value for key, value in members.items()}
    if way == 2:
        data = data[: rng.randrange(len(data) + 1)]
    elif way == 3:
        data += bytes(rng.randint(1, 64))
    else:
        data = bytes_changed(rng, data)
    return {**members, name: data}


def bytes_changed(rng: random.Random, data: bytes) -> bytes:
    """One to four bytes are others."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


#: Classes and functions that a checkpoint may name, harmless ones and others.
GLOBALS = (
    ("torch.nn.modules.conv", "Conv2d"), ("torch.nn.modules.container", "Sequential"), ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"), ("torch", "FloatStorage"),
    ("torch", "HalfStorage"), ("torch.nn.modules.module", "Module"), ("argparse", "Namespace"),
    ("pathlib", "PosixPath"),
    ("numpy.core.multiarray", "scalar"), ("numpy", "dtype"), ("functools", "partial"), ("os", "system"),
    ("builtins", "eval"), ("builtins", "getattr"), ("torch.hub", "load"), ("torch.nn.modules.module", "_addindent"),
    ("torchvision.models.resnet", "ResNet"), ("timm.layers.activations", "gelu"), ("torch.nn.parameter", "Parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"), ("torch.serialization", "_load"), ("operator", "attrgetter"),
)  # fmt: skip


def changed_pickle(rng: random.Random, program: bytes) -> bytes:
    """A pickle of which one to three words are gone, twice, moved, or have another number, name or text."""
    starts = [(position, opcode.name, argument) for opcode, argument, position in pickletools.genops(program)]
    ends = [position for position, _, _ in starts[1:]] + [len(program)]
    words = [(name, argument, program[at:end]) for (at, name, argument), end in zip(starts, ends, strict=True)]
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(1, max(len(words) - 1, 2))
        name, argument, raw = words[at]
        if (other := _other_word(rng, name, argument)) is not None and rng.random() < 0.8:
            words[at] = (name, argument, other)
        elif (way := rng.randrange(3)) == 0:
            del words[at]
        elif way == 1:
            words.insert(at, (name, argument, raw))
        else:
            there = rng.randrange(1, max(len(words) - 1, 2))
            words[at], words[there] = words[there], words[at]
    return b"".join(raw for _, _, raw in words)


def _other_word(rng: random.Random, name: str, argument: Any) -> bytes | None:
    if name == "GLOBAL":
        module, found = rng.choice(GLOBALS)
        return b"c" + f"{module}\n{found}\n".encode()
    if name in ("BININT", "BININT1", "BININT2", "LONG1"):
        number = rng.choice(NUMBERS)
        return _long(number) if abs(number) >= 1 << 31 else b"J" + struct.pack("<i", number)
    if name == "BINUNICODE":
        text = rng.choice((str(argument) + "x", "", "weight", "_modules", "__class__", "forward", "0" * 300)).encode()
        return b"X" + struct.pack("<I", len(text)) + text
    words: dict[str, tuple[bytes, ...]] = {
        "NEWTRUE": (b"\x89", b"N"), "NEWFALSE": (b"\x88", b"N"), "NONE": (b"}", b")", b"]"),
        "EMPTY_TUPLE": (b"N", b"}"), "EMPTY_DICT": (b"N", b")", b"]"), "EMPTY_LIST": (b"N", b")"),
        "REDUCE": (b"\x81", b"0", b"b"), "BUILD": (b"0", b"R"), "TUPLE": (b"l", b"0"), "SETITEMS": (b"e", b"0"),
        "BINPERSID": (b"0", b"R"),
    }  # fmt: skip
    return rng.choice(words[name]) if name in words else None


def _long(number: int) -> bytes:
    data = number.to_bytes((number.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


Mutator = Callable[[random.Random], bytes]
