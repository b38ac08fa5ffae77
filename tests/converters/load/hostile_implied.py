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
        return self.inner.depth() + self.inner.depth()  # type: ignore[operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _Top(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.conv = inner, nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)) + self.inner.depth()  # type: ignore[operator]


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
    """Twelve files, each of which is short enough; 230 MB of them took more than 4 GB."""
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
    ("too much source in short files", "size", partial(scripts._script, partial(_source, 20_000))),
    *[
        (f"constants: {name}", "pickle", partial(_constants, program))
        for name, program in (
            ("tuples in tuples", b")" + b"\x85" * 200_000 + b"."),
            ("a tensor's type without its class", b"ctorch._tensor\n_rebuild_from_type_v2\n(tR."),
            ("appended without a mark", b"]e."),
            ("a tuple of nothing", b"\x87."),
            ("a number that is called", b"K\x7f)R."),
            ("a number that gets a state", b"K\x7fK\x01b."),
            ("what was not put", b"h\x7f."),
        )
    ],
]
#: What the lists let pass, and the confined process answers in one line.
LEFT_TO_THE_PROCESS: list[Hostile] = [
    *[
        (f"constants: {name}", "pickle", partial(_constants, program))
        for name, program in (
            ("a list whose type lies", _tagged("List[Tensor]")),
            ("a type of nonsense", _tagged("Dict[str, List[" * 200)),
            ("a list of numbers that are texts", b"ctorch.jit._pickle\nbuild_intlist\n(](X\x01\0\0\0aetR\x85."),
            ("no tuple", b"K\x01."),
        )
    ],
    ("a class that is not there", "pickle", partial(_data, lambda data: data.replace(b"Residual\n", b"Nobody\n", 1))),
    *[
        (f"script {line[:50]}", "script memory", partial(scripts._script, partial(scripts._line, line)))
        for line in (
            "\n    ".join(['s9 = "aaaaaaaa"', *["s9 = torch.add(s9, s9)"] * 40]),
            "\n    ".join(["t9 = torch.ones([8])", *["t9 = torch.cat([t9, t9])"] * 45]),
            "t9 = torch.zeros([1000000, 1000000, 2])",
            "x = torch.repeat(x, [100000, 100000, 100000, 100000])",
        )
    ],
    *[
        (f"script {line[:50]}", "script crash", partial(scripts._script, partial(scripts._line, line)))
        for line in (
            "x = torch.as_strided(x, [1000000], [1], 1000000)",
            "x = torch.max_pool2d(x, [0, 0], [0, 0], [0, 0], [0, 0])",
            "x = torch.pixel_unshuffle(x, 0)",
            "q9 = CONSTANTS.c99999999999999999999999",
        )
    ],
]
