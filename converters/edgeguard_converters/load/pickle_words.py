"""Pickles, read as the programs that they are and never run: only words and names that are on a list pass."""

import io
import pickletools
import re
from collections.abc import Callable

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_sharing import Weights
from edgeguard_converters.load.refused import PickleRefused

_WORDS_LISTED = """
     PROTO STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINUNICODE SHORT_BINSTRING BINSTRING EMPTY_LIST EMPTY_TUPLE EMPTY_DICT EMPTY_SET APPEND APPENDS LIST TUPLE
TUPLE1 TUPLE2 TUPLE3 DICT SETITEM SETITEMS BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID
"""
_WORDS = frozenset(_WORDS_LISTED.split())
#: Words that a pickle of any objects needs beside; they are for a reader that imports nothing.
_WORDS_OF_OBJECTS = _WORDS | {"NEWOBJ", "NEWOBJ_EX", "STACK_GLOBAL", "MEMOIZE", "FRAME", "ADDITEMS", "FROZENSET",
                              "BINBYTES", "SHORT_BINBYTES", "BINUNICODE8", "BINBYTES8"}  # fmt: skip
_NUMBERED = ("LONG_BINPUT", "BINPUT")
_TENSOR_NAMES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (Half|Float|Double|BFloat16|Byte|Char|Short|Int|Long|Bool)Storage"
    r"|torch (Size|float(16|32|64)|bfloat16|u?int(8|16|32|64)|bool|device)"
)
_MOST_WORDS = 5_000_000


def is_tensor_name(name: str) -> bool:
    """True for the names that a state_dict imports, such as `torch._utils _rebuild_tensor_v2`."""
    return _TENSOR_NAMES.fullmatch(name) is not None


def check_pickle(
    data: bytes, name: str, allowed: Callable[[str], bool] = is_tensor_name, *, new_objects: bool = False
) -> int:
    """Refuse a pickle that does more than put tensors into containers.

    Args:
        data: begins with the pickle.
        name: of its file, for messages.
        allowed: says of "module name" whether the pickle may import it.
        new_objects: it may make objects of what it imports without calling it.

    Returns:
        Where the pickle ends.

    Raises:
        PickleRefused: it imports or does what is not on the lists.
        InputError: it is damaged.
    """
    return _check(data, name, _WORDS | {"NEWOBJ"} if new_objects else _WORDS, allowed)


def check_objects(data: bytes, name: str) -> int:
    """Refuse a pickle that `pickle_records`, which imports nothing, could not read in bounded memory.

    Returns:
        Where the pickle ends.

    Raises:
        PickleRefused: it holds words that no checkpoint needs.
        InputError: it is damaged.
    """
    return _check(data, name, _WORDS_OF_OBJECTS, lambda _: True)


def _check(data: bytes, name: str, words: frozenset[str], allowed: Callable[[str], bool]) -> int:
    stream = io.BytesIO(data)
    count = 0
    weights = Weights()
    try:
        for word, argument, _ in pickletools.genops(stream):
            count += 1
            foreign = word.name == "GLOBAL" and not allowed(str(argument))
            far = word.name in _NUMBERED and int(argument or 0) > count  # the reader would make room for all numbers
            if word.name not in words or foreign or far or count > _MOST_WORDS:
                raise PickleRefused(
                    f"{name} is a pickle that can run code when loaded; refused, its code was not run "
                    "(save a torch.export program or a state_dict instead)"
                )
            weights.step(word, argument)
    except PickleRefused:
        raise
    except Exception as error:
        raise InputError(f"{name} is a damaged pickle: {' '.join(str(error).split())[:200]}") from error
    return stream.tell()


def looks_like_pickle(data: bytes) -> bool:
    """True for an archive of `torch.save`, and for a pickle of any protocol.

    Example:
        >>> looks_like_pickle(b"hello"), looks_like_pickle(bytes([128, 2, 78, 46]))
        (False, True)
    """
    if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[1:2] <= b"\x05"):
        return True
    if not data.rstrip().endswith(b"."):
        return False
    try:  # protocols 0 and 1 have no header
        return sum(1 for _ in pickletools.genops(data)) > 1
    except Exception:
        return False
