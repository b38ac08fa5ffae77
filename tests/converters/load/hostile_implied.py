"""Hostile TorchScript that does more than it says: calls without a name, types that lie, pickles that end too early."""

import io
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from converters.load import hostile_scripts as scripts
from converters.load.hostile_base import Hostile, members, write
from torch import nn

DEPTH = 34


class _Leaf(nn.Module):
    @torch.jit.export
    def depth(self) -> int:
        return 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _Twice(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @torch.jit.export
    def depth(self) -> int:
        return self.inner.depth() + self.inner.depth()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _Top(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.conv = inner, nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)) + self.inner.depth()


def _without_a_name(method: str, call: str, folder: Path, flag: Path) -> Path:
    """Modules within each other, each of which calls a method of the next one twice, without naming it."""
    module: nn.Module = _Leaf()
    for _ in range(DEPTH):
        module = _Twice(module)
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(_Top(module).eval()), stream)
    found = members(stream.getvalue())
    more = "" if method == "__len__" else ", i: int"
    for name in [name for name in found if name.endswith(".py")]:
        source = re.sub(r"def depth\(self: ([\w.]+)\)", rf"def {method}(self: \1{more})", found[name].decode())
        found[name] = re.sub(r"\(([\w.]+)\)\.depth\(\)", lambda k: call.format(k[1]), source).encode()
    return write(folder / "evil.pt", found)


def _constants(program: bytes, folder: Path, flag: Path) -> Path:
    """Another pickle of constants."""

    def change(found: dict[str, bytes], flag: Path) -> None:
        found[next(name for name in found if name.endswith("constants.pkl"))] = b"\x80\x02" + program

    return scripts._script(change, folder, flag)


def _data(change: Callable[[bytes], bytes], folder: Path, flag: Path) -> Path:
    """Another pickle of modules."""

    def changed(found: dict[str, bytes], flag: Path) -> None:
        name = next(name for name in found if name.endswith("/data.pkl"))
        found[name] = change(found[name])

    return scripts._script(changed, folder, flag)


def _source(lines: int, found: dict[str, bytes], flag: Path) -> None:
    """Twelve files, each of which is short enough."""
    root = next(iter(found)).partition("/")[0]
    body = b"def f(x: Tensor) -> Tensor:\n" + b"  x = torch.add(x, 1)\n" * lines + b"  return x\n"
    for number in range(12):
        found[f"{root}/code/__torch__/m{number}.py"] = body


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _tagged(kind: str) -> bytes:
    return b"ctorch.jit._pickle\nrestore_type_tag\n(](K\x07e" + _text(kind) + b"tR\x85."


TORCH: list[Hostile] = [
    *[
        (f"modules whose {method} is taken twice", "implied", partial(_without_a_name, method, call))
        for method, call in (
            ("__len__", "len({})"),
            ("__getitem__", "{}[0]"),
            ("__contains__", "int(0 in {})"),
        )
    ],
    ("250 MB of source in short files", "size", partial(scripts._script, partial(_source, 800_000))),
]
