"""Hostile TorchScript: code that would run while a file is loaded, or when the model answers."""

import io
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from converters.load.hostile_base import Hostile, members, script, write


def _script(change: Callable[[dict[str, bytes], Path], None], folder: Path, flag: Path) -> Path:
    found = script()
    change(found, flag)
    return write(folder / "evil.pt", found)


def _main(found: dict[str, bytes]) -> str:
    return next(name for name, data in found.items() if name.endswith(".py") and b"class Residual" in data)


def _line(line: str, found: dict[str, bytes], flag: Path) -> None:
    """A line at the head of every function of the main class."""
    name = _main(found)
    source = found[name].decode()
    at = source.index(":\n", source.index("-> Tensor")) + 2
    found[name] = (source[:at] + "    " + line.format(flag=flag) + "\n" + source[at:]).encode()


class Loads(torch.nn.Module):
    """Its `__setstate__` runs while the archive is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.x = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self):
        return (self.x, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.x = state[0]
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) + self.x


def _set_state(body: str, folder: Path, flag: Path) -> Path:
    """A line at the head of `__setstate__`."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(Loads()), stream)
    found = members(stream.getvalue())
    name = next(name for name, data in found.items() if name.endswith(".py") and b"__setstate__" in data)
    source = found[name].decode()
    at = source.index("    self.x = ")
    found[name] = (source[:at] + "    " + body.format(flag=flag) + "\n" + source[at:]).encode()
    return write(folder / "evil.pt", found)


def _global(found: dict[str, bytes], flag: Path) -> None:
    name = next(name for name in found if name.endswith("/data.pkl"))
    found[name] = (
        b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(f"touch {flag}")) + f"touch {flag}".encode() + b"\x85R."
    )


def _added(suffix: str, data: bytes, found: dict[str, bytes], flag: Path) -> None:
    found[f"{next(iter(found)).partition('/')[0]}/{suffix}"] = data


def _short_storage(found: dict[str, bytes], flag: Path) -> None:
    name = next(name for name in found if name.endswith("/data/0"))
    found[name] = found[name][:8]


SCRIPTS: list[Hostile] = [
    *[
        (f"script {line[:40]}", kind, partial(_script, partial(_line, line)))
        for line, kind in (
            ('y9 = torch.from_file("{flag}", True, 4)', "script file"),
            ('y9 = ("{flag}").from_file(True, 4)', "script file"),
            ("f9 = torch.from_file", "script file"),
            ("y9 = ops.aten.from_file", "script file"),
            ('y9 = getattr("{flag}", "from_file")', "script file"),
            ('torch.save([x], "{flag}")', "script file"),
            ('print("hello")', "script call"),
            ("y9 = __torch__.torch.classes.quantized.Conv2dPackedParamsBase", "script class"),
            ('y9 = ops.profiler._record_function_enter("x")', "script call"),
            ("y9 = [z for z in [1]]", "script call"),
            ("y9 = fork(x)", "script call"),
        )
    ],
    ("script loop", "script loop", partial(_script, partial(_line, "while True:\n      pass"))),
    (
        "script long loop",
        "script loop",
        partial(_script, partial(_line, "for i9 in range(9223372036854775807):\n      pass")),
    ),
    (
        "file while loading",
        "script loading",
        partial(_set_state, 'self.x = torch.from_file("{flag}", True, 4)'),
    ),
    ("loop while loading", "script loading", partial(_set_state, "while True:\n      pass")),
    ("memory while loading", "script loading", partial(_set_state, "y = torch.ones([100000000000])")),
    ("import in a script's pickle", "pickle", partial(_script, _global)),
    ("library in a script", "compiled code", partial(_script, partial(_added, "code/lib.so", b"\x7fELF"))),
    ("script whose weights are not there", "size", partial(_script, _short_storage)),
]
