"""Hostile files of torch's formats. Each is made of a good one; what it would do is write `flag`, or take too much."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from converters.models import SIDE, Residual

Make = Callable[[Path, Path], Path]
#: Name, kind of attack, and what makes the file in a folder (flag: the file that must not appear).
Hostile = tuple[str, str, Make]


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, flag: Path) -> None:
        self.flag = str(flag)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.flag, "w")


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def program() -> dict[str, bytes]:
    stream = io.BytesIO()
    torch.export.save(torch.export.export(Residual().eval(), (torch.zeros(1, 3, SIDE, SIDE),)), stream)
    return members(stream.getvalue())


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, found: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return path


def _member(suffix: str, data: Callable[[Path], bytes], folder: Path, flag: Path) -> Path:
    found = program()
    root = next(iter(found)).partition("/")[0]
    return write(folder / "evil.pt2", {**found, f"{root}/{suffix}": data(flag)})


def _json(suffix: str, change: Callable[[dict[str, Any], Path], None], folder: Path, flag: Path) -> Path:
    found = program()
    name = next(name for name in found if name.endswith(suffix))
    document = json.loads(found[name])
    change(document, flag)
    return write(folder / "evil.pt2", {**found, name: json.dumps(document).encode()})


def _graph(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["graph_module"]["graph"]
    return found


def _expression(template: str, document: dict[str, Any], flag: Path) -> None:
    tensor = next(iter(_graph(document)["tensor_values"].values()))
    tensor["sizes"][0] = {"as_expr": {"expr_str": template.format(flag=flag), "hint": None}}


def _target(target: str, document: dict[str, Any], flag: Path) -> None:
    _graph(document)["nodes"][0]["target"] = target


def _argument(argument: Any, document: dict[str, Any], flag: Path) -> None:
    _graph(document)["nodes"][0]["inputs"][0]["arg"] = argument


def _argument_name(document: dict[str, Any], flag: Path) -> None:
    given = _graph(document)["nodes"][0]["inputs"][0]
    given["name"], given["kind"] = f"x=open('{flag}', 'w'), y", 2


def _input_name(document: dict[str, Any], flag: Path) -> None:
    """The name of an input becomes an argument of a function that torch writes and executes."""
    text = json.dumps(document).replace('"x"', json.dumps(f"x=open('{flag}', 'w')"))
    document.clear()
    document.update(json.loads(text))


def _forward_names(document: dict[str, Any], flag: Path) -> None:
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = [f"x=open('{flag}', 'w')"]


def _tree(document: dict[str, Any], flag: Path) -> None:
    signature = document["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = json.dumps([1, {"type": "os.system", "context": f'"touch {flag}"', "children_spec": []}])


def _range(document: dict[str, Any], flag: Path) -> None:
    document["range_constraints"] = {f"open('{flag}', 'w')": {"min_val": 1, "max_val": 2}}


def _nested(document: dict[str, Any], flag: Path) -> None:
    inner: Any = {"as_int": 1}
    for _ in range(400):
        inner = {"as_string_to_argument": {"x": inner}}
    _argument(inner, document, flag)


def _payload(change: Callable[[dict[str, Any]], None], document: dict[str, Any], flag: Path) -> None:
    change(next(iter(document["config"].values())))


def _huge(entry: dict[str, Any]) -> None:
    entry["tensor_meta"]["sizes"] = [{"as_int": 1 << 35}]
    entry["tensor_meta"]["strides"] = [{"as_int": 0}]


def _beyond(entry: dict[str, Any]) -> None:
    entry["tensor_meta"]["sizes"] = [{"as_int": 1 << 20}, {"as_int": 1 << 10}]
    entry["tensor_meta"]["strides"] = [{"as_int": 1 << 10}, {"as_int": 1}]


def _pickled(folder: Path, flag: Path) -> Path:
    found = program()
    config = next(name for name in found if name.endswith("model_weights_config.json"))
    document = json.loads(found[config])
    for entry in document["config"].values():
        entry["use_pickle"] = True
    weight = next(name for name in found if name.endswith("weight_0"))
    changed = {config: json.dumps(document).encode(), weight: saved(Bomb(flag))}
    return write(folder / "evil.pt2", {**found, **changed})


def _custom_object(prefix: str, folder: Path, flag: Path) -> Path:
    found = program()
    config = next(name for name in found if name.endswith("model_constants_config.json"))
    entry = {"path_name": f"{prefix}_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    place = config.replace("model_constants_config.json", f"{prefix}_0")
    changed = {config: json.dumps({"config": {"x": entry}}).encode(), place: pickle.dumps(Bomb(flag))}
    return write(folder / "evil.pt2", {**found, **changed})


PROGRAMS: list[Hostile] = [
    (
        "pickled sample inputs",
        "pickle",
        partial(_member, "data/sample_inputs/model.pt", lambda f: saved(((Bomb(f),), {}))),
    ),
    ("pickle in an extra file", "pickle", partial(_member, "extra/readme.bin", lambda f: pickle.dumps(Bomb(f)))),
    (
        "pickle of protocol 0",
        "pickle",
        partial(_member, "extra/readme.bin", lambda f: pickle.dumps(Bomb(f), protocol=0)),
    ),
    ("pickled weight", "pickle", _pickled),
    ("custom object", "custom object", partial(_custom_object, "custom_obj")),
    ("opaque object", "custom object", partial(_custom_object, "opaque_obj")),
    ("shared library", "compiled code", partial(_member, "data/aotinductor/m/m.so", lambda f: b"\x7fELF" + bytes(64))),
    ("unknown member", "compiled code", partial(_member, "data/executorch/m.pte", lambda f: b"x")),
    *[
        (
            f"expression {template[:24]}",
            "expression",
            partial(_json, "models/model.json", partial(_expression, template)),
        )
        for template in (
            "(eval)(\"open('{flag}', 'w')\")",
            "open('{flag}', 'w')",
            "().__class__.__base__.__subclasses__()",
            "[open('{flag}', 'w') for s0 in (1,)]",
            "(lambda s0: open('{flag}', 'w'))(1)",
            "Symbol.__init__.__globals__",
            "9**9**9**9",
            "Pow(9, 99999999999999999999999999)",
        )
    ],
    ("range of an expression", "expression", partial(_json, "models/model.json", _range)),
    *[
        (f"target {target}", "operator", partial(_json, "models/model.json", partial(_target, target)))
        for target in (
            "torch.os.system",
            "torch.ops.aten.from_file.default",
            "torch.ops.higher_order.while_loop",
            "torch.ops.profiler._record_function_enter.default",
            "_operator.attrgetter",
            "torch.utils.cpp_extension.load",
            "#extension:x",
        )
    ],
    (
        "operator as an argument",
        "operator",
        partial(_json, "models/model.json", partial(_argument, {"as_operator": "torch.os.system"})),
    ),
    (
        "graph as an argument",
        "operator",
        partial(_json, "models/model.json", partial(_argument, {"as_graph": {"name": "g", "graph": {}}})),
    ),
    ("name of an argument", "generated source", partial(_json, "models/model.json", _argument_name)),
    ("name of an input", "generated source", partial(_json, "models/model.json", _input_name)),
    ("name in the signature", "generated source", partial(_json, "models/model.json", _forward_names)),
    ("type in a tree", "import by name", partial(_json, "models/model.json", _tree)),
    ("nesting", "size", partial(_json, "models/model.json", _nested)),
    ("weight larger than its bytes", "size", partial(_json, "weights_config.json", partial(_payload, _beyond))),
    ("weight that repeats itself", "size", partial(_json, "weights_config.json", partial(_payload, _huge))),
]


def _raw(change: Callable[[zipfile.ZipFile, str], None], folder: Path, flag: Path) -> Path:
    path = write(folder / "evil.pt2", program())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        change(archive, archive.namelist()[0].partition("/")[0])
    return path


def _link(archive: zipfile.ZipFile, root: str) -> None:
    entry = zipfile.ZipInfo(f"{root}/extra/link")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def _twice(archive: zipfile.ZipFile, root: str) -> None:
    archive.writestr(f"{root}/models/model.json", "{}")


def _other_name(folder: Path, flag: Path) -> Path:
    """One name before the data, another in the directory."""
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    place = data.index(b"models/model.json")
    data[place : place + 17] = b"models/other.json"
    path.write_bytes(data)
    return path


def _other_size(folder: Path, flag: Path) -> Path:
    """A directory whose sizes are not those before the data."""
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", data, place + 20, 5, 0x7FFFFFF0)
    path.write_bytes(data)
    return path


def _encrypted(folder: Path, flag: Path) -> Path:
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


ARCHIVES: list[Hostile] = [
    ("name that climbs", "archive name", partial(_raw, lambda a, r: a.writestr(f"{r}/../../flag", "x"))),
    ("absolute name", "archive name", partial(_raw, lambda a, r: a.writestr("/tmp/edgeguard-flag", "x"))),
    ("backslashes", "archive name", partial(_raw, lambda a, r: a.writestr(f"{r}\\..\\flag", "x"))),
    ("one name twice", "archive twice", partial(_raw, _twice)),
    ("another name before the data", "archive twice", _other_name),
    ("sizes that lie", "archive sizes", _other_size),
    ("link", "archive link", partial(_raw, _link)),
    ("encrypted member", "archive method", _encrypted),
    ("bomb", "archive bomb", partial(_raw, lambda a, r: a.writestr(f"{r}/extra/x", bytes(64 << 20)))),
]


def _script(change: Callable[[dict[str, bytes], Path], None], folder: Path, flag: Path) -> Path:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(Residual().eval(), torch.zeros(1, 3, SIDE, SIDE)), stream)
    found = members(stream.getvalue())
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


def _weights(name: str, data: Callable[[Path], bytes], folder: Path, flag: Path) -> Path:
    (folder / name).write_bytes(data(flag))
    return folder / name


def _state(program_of: Callable[[bytes], bytes]) -> bytes:
    """A state_dict whose pickle is changed."""
    found = members(saved(Residual().state_dict()))
    name = next(name for name in found if name.endswith("data.pkl"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, data in {**found, name: program_of(found[name])}.items():
            archive.writestr(member, data)
    return stream.getvalue()


def _text(flag: Path) -> bytes:
    return b"X" + struct.pack("<I", len(str(flag))) + str(flag).encode()


WEIGHTS: list[Hostile] = [
    ("pickled object", "pickle", partial(_weights, "w.pt", lambda f: saved({"state_dict": Bomb(f)}))),
    (
        "pickled object before zip",
        "pickle",
        partial(_weights, "w.pt", lambda f: saved(Bomb(f), _use_new_zipfile_serialization=False)),
    ),
    ("bare pickle", "pickle", partial(_weights, "w.pt", lambda f: pickle.dumps(Bomb(f)))),
    ("bare pickle of protocol 2", "pickle", partial(_weights, "w.pt", lambda f: pickle.dumps(Bomb(f), protocol=2))),
    (
        "names from the stack",
        "pickle",
        partial(
            _weights,
            "w.pt",
            lambda f: _state(lambda p: b"\x80\x04\x8c\x02io\x8c\x04open\x93" + _text(f) + b"X\x01\0\0\0w\x86R."),
        ),
    ),
    (
        "old word INST",
        "pickle",
        partial(_weights, "w.pt", lambda f: _state(lambda p: b"\x80\x02(" + _text(f) + b"X\x01\0\0\0wiio\nopen\n.")),
    ),
    (
        "number that wants memory",
        "size",
        partial(_weights, "w.pt", lambda f: _state(lambda p: b"\x80\x02Nr\xff\xff\xff\x7f.")),
    ),
    (
        "tensor larger than its bytes",
        "size",
        partial(
            _weights,
            "w.pt",
            lambda f: _state(lambda p: p.replace(b"K\x10K\x03K\x03K\x03", b"J\xff\xff\xff\x7fK\x03K\x03K\x03", 1)),
        ),
    ),
    ("whole module", "pickle", partial(_weights, "w.pt", lambda f: saved(Residual()))),
]


def torch_files() -> Iterator[Hostile]:
    """All of them."""
    yield from (*PROGRAMS, *ARCHIVES, *SCRIPTS, *WEIGHTS)
