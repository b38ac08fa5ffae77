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

from converters.load.hostile_archives import ARCHIVES
from converters.load.hostile_base import Bomb, Hostile, members, program, saved, write
from converters.load.hostile_scripts import SCRIPTS
from converters.models import Residual


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
