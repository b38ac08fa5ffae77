"""Keeping pickles out: a model file is data, and loading one must never run its code.

`torch.export.load` retries a failed safe load with `weights_only=False`, unpickles custom objects, hands symbolic
expressions to sympy's evaluator and resolves operator names by `getattr` from `torch`; `.module()` executes the guard
code that the file brings. Each of these runs code of the file's author. So a .pt2 is searched first, member by member,
and then loaded with the unsafe doors shut.
"""

import io
import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NoReturn
from unittest import mock

import torch

from edgeguard.errors import InputError

_SAFE_EXPRESSION = re.compile(r"[A-Za-z0-9_+\-*/%(),.<>=!&|~ ]*")
_QUOTED_NAME = re.compile(r"'[A-Za-z_][A-Za-z0-9_]*'")  # Symbol('s77', positive=True)
_CALL_IN_EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\s*\(")
_SAFE_CALLS = frozenset(
    {
        *("Add", "Mul", "Pow", "PowByNatural", "FloatPow", "Max", "Min", "Mod", "PythonMod", "ModularIndexing"),
        *("FloorDiv", "CleanDiv", "CeilDiv", "FloatTrueDiv", "IntTrueDiv", "LShift", "RShift", "Integer", "Symbol"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Where", "Piecewise", "Identity"),
        *("ToFloat", "TruncToInt", "RoundToInt", "CeilToInt", "FloorToInt"),
    }
)
_SAFE_TARGET = re.compile(
    # aten.from_file maps, and may create, a file of the author's choosing
    r"torch\.ops\.(aten|prims|prim|higher_order|torchvision|quantized_decomposed)\.(?!from_file\b)\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|sqrt|trunc)|torch\.sym_\w+|torch\._sym_sqrt"
)


class PickleRefused(InputError):
    """The file holds a pickle that could run code."""


def check_torch_zip(archive: zipfile.ZipFile) -> None:
    """Refuse a .pt2 archive that hides code in any member.

    Raises:
        PickleRefused: a pickled object, a custom object, or a reference to a function outside the operator sets.
    """
    plain = _plain_payloads(archive)
    for name in archive.namelist():
        base = PurePosixPath(name).name
        if base.startswith(("custom_obj", "opaque_obj")):
            raise PickleRefused(f"the archive holds a pickled object ({name}); refused, its code was not run")
        data = archive.read(name)
        if name.endswith(".json"):
            if "/models/" in f"/{name}":
                _check_graph(_json(data, name), name)
        elif base not in plain:
            _check_blob(data, name)


def _plain_payloads(archive: zipfile.ZipFile) -> set[str]:
    """Names of raw tensor payloads that the archive's own configurations declare, and of nothing that is pickled."""
    plain: set[str] = set()
    pickled: set[str] = set()
    for name in archive.namelist():
        if not name.endswith("_config.json"):
            continue
        entries = _json(archive.read(name), name).get("config", {})
        for entry in entries.values() if isinstance(entries, dict) else ():
            base = PurePosixPath(str(entry.get("path_name", ""))).name
            (pickled if entry.get("use_pickle") else plain).add(base)
    return plain - pickled


def _check_blob(data: bytes, name: str) -> None:
    """A member that may be read as a pickle has to pass torch's safe loader."""
    if zipfile.is_zipfile(io.BytesIO(data)) or _looks_like_pickle(data):
        load_weights(io.BytesIO(data), name)


def _looks_like_pickle(data: bytes) -> bool:
    if data[:1] == b"\x80" and data[1:2] in b"\x00\x01\x02\x03\x04\x05":
        return True
    if not data.rstrip().endswith(b"."):
        return False
    try:  # protocols 0 and 1 have no header
        return sum(1 for _ in pickletools.genops(data)) > 1
    except Exception:
        return False


def load_weights(stream: io.BytesIO, name: str) -> Any:
    """`torch.load` with `weights_only=True`.

    Raises:
        PickleRefused: the blob asks for anything but tensors and plain containers.
        InputError: it is damaged.
    """
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "weights_only" in text or "Unsupported" in text or "global" in text.lower():
            raise PickleRefused(
                f"{name} is a pickle that can run code when loaded; refused, its code was not run "
                "(save a torch.export program or a state_dict instead)"
            ) from error
        raise InputError(f"{name} cannot be read: {text.splitlines()[0] if text else type(error).__name__}") from error


def _check_graph(node: Any, name: str) -> None:
    """Walk a serialised graph: expressions must be arithmetic, call targets must be operators."""
    if isinstance(node, list):
        for item in node:
            _check_graph(item, name)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "expr_str" and isinstance(value, str):
                _check_expression(value, name)
            elif key == "target" and isinstance(value, str) and "inputs" in node:
                if not _SAFE_TARGET.fullmatch(value):
                    raise PickleRefused(f"{name} calls {value!r}, which is no tensor operator; refused")
            else:
                _check_graph(value, name)


def _check_expression(text: str, name: str) -> None:
    calls = set(_CALL_IN_EXPRESSION.findall(text))
    if not _SAFE_EXPRESSION.fullmatch(_QUOTED_NAME.sub("x", text)) or "__" in text or calls - _SAFE_CALLS:
        raise PickleRefused(f"{name} holds the expression {text[:60]!r}, which is not arithmetic; refused")


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise InputError(f"{name} in the archive is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise InputError(f"{name} in the archive holds no JSON object")
    return parsed


@contextmanager
def doors_shut() -> Iterator[None]:
    """While open, nothing in torch's archive loader can unpickle: the second line of defence."""
    real_load = torch.load

    def safe_load(*args: Any, **kwargs: Any) -> Any:
        return real_load(*args, **{**kwargs, "weights_only": True})

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PickleRefused("the archive holds a pickled object; refused, its code was not run")

    with (
        mock.patch.object(torch, "load", safe_load),
        mock.patch.object(torch._C, "_pickle_load_obj", refuse),
        mock.patch("torch.export.pt2_archive._package.pickle.loads", refuse),
    ):
        yield
