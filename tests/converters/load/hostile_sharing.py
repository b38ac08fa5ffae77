"""Hostile files that are small and would be huge: what is in them stands once and is used twice, over and over."""

import copy
import io
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from converters.load import hostile_advisories as advisories
from converters.load import hostile_scripts as scripts
from converters.load.hostile_base import Hostile, members, saved, write
from torch import nn

DEPTH = 40


def _functions(found: dict[str, bytes], flag: Path) -> None:
    """40 functions that each call the next one twice."""
    name = scripts._main(found)
    place = name.partition("code/")[2].removesuffix(".py").replace("/", ".")
    source = found[name].decode()
    at = source.index(":\n", source.index("-> Tensor")) + 2
    more = [f"def f{i}(x: Tensor) -> Tensor:\n  return {place}.f{i + 1}({place}.f{i + 1}(x, ), )" for i in range(DEPTH)]
    more += [f"def f{DEPTH}(x: Tensor) -> Tensor:\n  return torch.add(x, 0)\n"]
    found[name] = (source[:at] + f"    x = {place}.f0(x, )\n" + source[at:] + "\n".join(more)).encode()


def _methods(through: str, found: dict[str, bytes], flag: Path) -> None:
    """40 methods that do, each reached in another way."""
    name = scripts._main(found)
    source = found[name].decode()
    own = source[source.index("self: ") + 6 :].partition(",")[0]
    call = through.replace("NEXT", "g{1}")
    more = [
        f"  def g{i}(self: {own},\n    x: Tensor) -> Tensor:\n" + call.format(i, i + 1, own=own) for i in range(DEPTH)
    ]
    more += [f"  def g{DEPTH}(self: {own},\n    x: Tensor) -> Tensor:\n    return torch.add(x, 0)\n"]
    at = source.index(":\n", source.index("-> Tensor")) + 2
    found[name] = (source[:at] + "    x = (self).g0(x, )\n" + source[at:].rstrip("\n") + "\n" + "".join(more)).encode()


class _Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            x = x * 1.0
        return self.conv(x).mean((2, 3))


def _graphs_of_one_name(folder: Path, flag: Path, depth: int = 6, calls: int = 30) -> Path:
    """torch keeps graphs within a graph by their names: 30 calls of which the last says what all of them are."""
    stream = io.BytesIO()
    torch.export.save(torch.export.export(_Wrapped().eval(), (torch.zeros(1, 3, 32, 32),)), stream)
    found = members(stream.getvalue())
    name = next(member for member in found if "/models/" in member)
    document = json.loads(found[name])
    node = next(n for n in document["graph_module"]["graph"]["nodes"] if "higher_order" in n["target"])
    given = next(one["arg"] for one in node["inputs"] if "as_graph" in one["arg"])
    small = copy.deepcopy(given["as_graph"]["graph"])
    start = small["inputs"][0]["as_tensor"]["name"]
    meta = small["tensor_values"][small["outputs"][0]["as_tensor"]["name"]]

    def call(inner: Any, source: str, target: str) -> Any:
        made: Any = {**copy.deepcopy(node), "metadata": {}}
        made.pop("name", None)
        for one in made["inputs"]:
            if "as_graph" in one["arg"]:
                one["arg"]["as_graph"] = {"name": "g", "graph": inner}
            elif "as_tensor" in one["arg"]:
                one["arg"] = {"as_tensor": {"name": source}}
        for one in made["outputs"]:
            (one["as_tensors"][0] if "as_tensors" in one else one["as_tensor"])["name"] = target
        return made

    inner = small
    for _ in range(depth):
        names = [start, *(f"o{i}" for i in range(calls))]
        outer = copy.deepcopy(small)
        outer["nodes"] = [call(small if i < calls - 1 else inner, names[i], names[i + 1]) for i in range(calls)]
        outer["outputs"], outer["tensor_values"] = [{"as_tensor": {"name": names[-1]}}], dict.fromkeys(names, meta)
        inner = outer
    given["as_graph"] = {"name": "g", "graph": inner}
    found[name] = json.dumps(document).encode()
    return write(folder / "evil.pt2", found)


def _pickled(make: Callable[[], bytes], folder: Path, flag: Path) -> Path:
    found = members(saved((1,)))
    found[next(name for name in found if name.endswith("data.pkl"))] = make()
    return write(folder / "evil.pt", found)


def _lists() -> bytes:
    value: Any = "x"
    for _ in range(5):
        value = [value] * 1000
    return pickle.dumps(value, 2)


def _dictionaries() -> bytes:
    value: Any = {"a": 1}
    for _ in range(5):
        value = {f"k{i}": value for i in range(1000)}
    return pickle.dumps(value, 2)


def _hashes() -> bytes:
    """A tuple of a tuple twice, and so on, as a key: its hash takes 2^60 steps."""
    return b"\x80\x02}" + b")" + b"2\x86" * 60 + b"K\x01s."


def _texts() -> bytes:
    """The text of a call's arguments, again and again: each time the escapes in it are escaped."""
    call = b"q\x02h\x01h\x02\x85R"
    return b"\x80\x02ctorch\ndevice\nq\x01X\x02\x00\x00\x00'\"\x85R" + call * 60 + b"."


def _copies(name: bytes) -> bytes:
    """A text of 10 MB, made anew 3,000 times."""
    text = b"a" * (10 << 20)
    head = b"\x80\x02X" + len(text).to_bytes(4, "little") + text + b"q\x01](c" + name + b"q\x03"
    return head + b"h\x03h\x01\x85R" * 3000 + b"e."


def _modules(folder: Path, flag: Path) -> Path:
    module: nn.Module = nn.Identity()
    for _ in range(DEPTH):
        module = nn.Sequential(module, module)
    torch.save(nn.Sequential(nn.Conv2d(3, 4, 3), module), folder / "evil.pt")
    return folder / "evil.pt"


def _attributes(folder: Path, flag: Path) -> Path:
    held: list[Any] = []
    for _ in range(DEPTH):
        held = [held, held]
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    module.held = held  # type: ignore[assignment]  # any attribute may be set
    torch.save(module, folder / "evil.pt")
    return folder / "evil.pt"


def _keras_models(folder: Path, flag: Path) -> Path:
    """Models within each other, each connected twice in the one around it."""
    return advisories._config(models_within(DEPTH), folder, flag)


def models_within(depth: int) -> dict[str, Any]:
    """The configuration of a Keras model: `depth` models around one layer."""
    layer: dict[str, Any] = {"class_name": "ReLU", "module": "keras.layers", "config": {"name": "r"}}
    for number in range(depth):
        once: dict[str, Any] = {"args": [], "kwargs": {}}
        inner = {**layer, "name": f"m{number}", "inbound_nodes": [once, once]}
        layer = {"class_name": "Functional", "module": "keras", "config": {"name": f"m{number}", "layers": [inner]}}
    return layer


_SELF = "    return (self).NEXT((self).NEXT(x, ), )\n"
_VARIABLE = "    s = self\n    t = s\n    return (t).NEXT((s).NEXT(x, ), )\n"
_BOUND = "    f = self.NEXT\n    return f(f(x, ), )\n"
_OF_A_LIST = "    s = [self, self]\n    return (s[0]).NEXT((s[1]).NEXT(x, ), )\n"
_LOOP = "    for i in range(2):\n      x = (self).NEXT(x, )\n    return x\n"
TORCH: list[Hostile] = [
    ("functions that call the next one twice", "sharing", partial(scripts._script, _functions)),
    *[
        (
            f"methods that call the next one twice, {how}",
            "sharing",
            partial(scripts._script, partial(_methods, through)),
        )
        for how, through in (
            ("of self", _SELF),
            ("of a variable", _VARIABLE),
            ("bound to a variable", _BOUND),
            ("of a list", _OF_A_LIST),
            ("in a loop", _LOOP),
        )
    ],
    ("graphs of one name", "sharing", _graphs_of_one_name),
    ("lists of the same list", "sharing", partial(_pickled, _lists)),
    ("dictionaries of the same dictionary", "sharing", partial(_pickled, _dictionaries)),
    ("a key of the same tuples", "sharing", partial(_pickled, _hashes)),
    ("texts of texts", "sharing", partial(_pickled, _texts)),
    ("copies of a text", "sharing", partial(_pickled, partial(_copies, b"_codecs\nencode\n"))),
    ("modules of the same module", "sharing", _modules),
    ("attributes of the same list", "sharing", _attributes),
]
KERAS: list[Hostile] = [("models within models", "sharing", _keras_models)]
