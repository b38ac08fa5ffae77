"""Small model files of each format that `convert` reads, and how each is changed with its structure in mind."""

import io
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fuzz.mutate import (
    NUMBERS,
    Mutator,
    bytes_changed,
    changed_members,
    changed_pickle,
    changed_tree,
    members_of,
    zipped,
)

SIDE = 8


@dataclass(frozen=True)
class Format:
    """A format: its suffix, a good file and what makes another of it."""

    name: str
    suffix: str
    good: bytes
    changed: Mutator


def formats(names: tuple[str, ...]) -> list[Format]:
    """The formats of these names (`FORMATS`), each with a good file that is made here."""
    return [FORMATS[name]() for name in names]


def _network() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip


def _saved(value: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _pickled(name: str, good: bytes) -> Format:
    members = members_of(good)
    program = next(member for member in members if member.endswith("data.pkl"))

    def changed(rng: random.Random) -> bytes:
        found = members
        if rng.random() < 0.85:
            found = {**found, program: changed_pickle(rng, found[program])}
        if rng.random() < 0.25:
            found = changed_members(rng, found)
        return zipped(found)

    return Format(name, ".pt", good, changed)


def _module() -> Format:
    return _pickled("module", _saved(_network()))


def _state() -> Format:
    return _pickled("state_dict", _saved({"state_dict": _network().state_dict(), "epoch": 3, "best": np.float64(0.5)}))


def _safetensors() -> Format:
    from safetensors.torch import save

    good = save(_network().state_dict(), {"format": "pt"})
    length = struct.unpack("<Q", good[:8])[0]
    table, rest = json.loads(good[8 : 8 + length]), good[8 + length :]
    words = ("F32", "F16", "BF16", "I64", "F8_E4M3", "C64", "BOOL", "__metadata__", "dtype", "shape", "data_offsets")

    def changed(rng: random.Random) -> bytes:
        text = json.dumps(changed_tree(rng, table, words)).encode()
        if rng.random() < 0.1:
            text = bytes_changed(rng, text)
        claimed = len(text) if rng.random() < 0.9 else rng.choice([n for n in NUMBERS if n >= 0])
        body = rest if rng.random() < 0.8 else rest[: rng.randrange(len(rest))]
        return struct.pack("<Q", claimed) + text + body

    return Format("safetensors", ".safetensors", good, changed)


def _program() -> Format:
    import torch

    stream = io.BytesIO()
    torch.export.save(torch.export.export(_network(), (torch.zeros(1, 3, SIDE, SIDE),)), stream)
    members = members_of(stream.getvalue())
    documents = [name for name in members if name.endswith(".json")]
    words = (
        "torch.ops.aten.conv2d.default", "torch.ops.aten.relu.default", "torch.ops.aten.from_file.default",
        "torch.ops.aten.expand.default", "torch.ops.aten.repeat.default", "as_int", "as_tensor", "as_sym_int",
        "as_expr",        "as_none", "as_ints", "_operator.mul", "s0", "x", "p_0_weight",
    )  # fmt: skip

    def changed(rng: random.Random) -> bytes:
        found = members
        if rng.random() < 0.85:
            name = rng.choice(documents)
            found = {**found, name: json.dumps(changed_tree(rng, json.loads(found[name]), words)).encode()}
        else:
            found = changed_members(rng, found)
        return zipped(found)

    return Format("program", ".pt2", stream.getvalue(), changed)


def _onnx() -> Format:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 3, 3, 3)), "b": rng.normal(size=4), "v": rng.normal(size=(3, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1, alpha=1.0),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    good = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    def changed(rng: random.Random) -> bytes:
        while True:
            model = onnx.ModelProto()
            model.ParseFromString(good)
            for _ in range(rng.randint(1, 3)):
                _change_onnx(rng, model)
            try:
                return bytes(model.SerializeToString())
            except ValueError:
                continue  # a text that is none

    return Format("onnx", ".onnx", good, changed)


_OPERATORS = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "Reshape", "Resize", "Upsample", "Concat", "Gather", "Slice"),
    *(
        "Expand",
        "Tile",
        "Pad",
        "TopK",
        "If",
        "Loop",
        "Cast",
        "Clip",
        "Split",
        "Range",
        "ReduceMean",
        "OneHot",
        "Einsum",
    ),
    *("BatchNormalization", "QuantizeLinear", "Constant", "ConstantOfShape", "Atanh"),
)
_ATTRIBUTES = ("pads", "strides", "axis", "alpha", "dilations", "group", "kernel_shape", "to", "perm", "axes", "mode",
               "value", "equation")  # fmt: skip


def _change_onnx(rng: random.Random, model: Any) -> None:
    from onnx import helper

    graph, way = model.graph, rng.randrange(9)
    node = rng.choice(list(graph.node)) if graph.node else None
    tensor = rng.choice(list(graph.initializer)) if graph.initializer else None
    if way == 0 and node:
        node.op_type = rng.choice(_OPERATORS)
    elif way == 1 and node and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", "x", "w", "b", "y", "nothing", node.output[0]])
    elif way == 2 and node:
        lists = [rng.choice(NUMBERS) for _ in range(rng.randint(1, 5))]
        value = rng.choice((lists, lists, rng.choice(NUMBERS), 1e38, "nearest", graph))
        node.attribute.append(helper.make_attribute(rng.choice(_ATTRIBUTES), value))
    elif way == 3 and tensor and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif way == 4 and tensor:
        tensor.data_type = rng.randrange(0, 24)
    elif way == 5 and tensor:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif way == 6 and graph.input:
        sides = graph.input[0].type.tensor_type.shape.dim
        if sides:
            sides[rng.randrange(len(sides))].dim_value = rng.choice(NUMBERS)
    elif way == 7:
        model.opset_import[0].version = rng.choice((*NUMBERS, 6, 7, 11, 13, 18, 22, 23))
    elif node:
        graph.node.remove(node) if rng.random() < 0.5 else graph.node.insert(0, node)


def _keras_config() -> dict[str, Any]:
    def layer(kind: str, **config: Any) -> dict[str, Any]:
        return {"module": "keras.layers", "class_name": kind, "config": {"name": kind.lower(), **config}}

    return {
        "class_name": "Sequential", "module": "keras",
        "config": {
            "name": "net", "trainable": True,
            "layers": [
                layer("InputLayer", batch_shape=[None, SIDE, SIDE, 3], dtype="float32"),
                layer("Conv2D", filters=4, kernel_size=[3, 3], strides=[1, 1], padding="same", activation="relu"),
                layer("GlobalAveragePooling2D"), layer("Dense", units=3, activation="softmax"),
            ],
        },
    }  # fmt: skip


_KERAS_WORDS = ("Lambda", "Conv2D", "TFOpLambda", "Sequential", "keras.layers", "os", "keras.src.utils", "function",
                "class_name", "module", "config", "softmax", "training", "registered_name")  # fmt: skip


def _h5(config: Any, rng: random.Random | None) -> bytes:
    """Weights as Keras lays them out, with the configuration as an attribute where one is given."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights/conv2d/net/conv2d")
        group.create_dataset("kernel", data=np.zeros((3, 3, 3, 4), np.float32))
        group.create_dataset("bias", data=np.zeros(4, np.float32))
        file["model_weights"].attrs["layer_names"] = [b"conv2d"]
        if rng is not None:
            _change_h5(h5py, rng, file, group)
    return stream.getvalue()


def _change_h5(h5py: Any, rng: random.Random, file: Any, group: Any) -> None:
    way = rng.randrange(9)
    if way == 0:
        group["link"] = h5py.SoftLink("/model_weights")
    elif way == 1:
        group["outside"] = h5py.ExternalLink("/etc/passwd", "/x")
    elif way == 2:
        group.create_dataset("outside", (4,), "f4", external=[("/etc/passwd", 0, 16)])
    elif way == 3:
        group.create_dataset("large", (1 << 34,), "f4", chunks=(1 << 10,))
    elif way == 4:
        group.create_dataset("texts", data=[b"a", b"b"])
    elif way == 5:
        file["model_weights"].attrs["weight_names"] = rng.choice([b"x", 7, np.zeros((2, 2)), [b"\xff\xfe"]])
    elif way == 6:
        group["again"] = file["model_weights"]  # a circle
    elif way == 7:
        group.create_dataset("packed", data=np.zeros((64, 64), "f4"), compression="gzip", shuffle=True)
    elif way == 8:
        group.create_dataset("nothing", data=h5py.Empty("f4"))


def _keras_h5() -> Format:
    config = _keras_config()

    def changed(rng: random.Random) -> bytes:
        other = config if rng.random() < 0.3 else changed_tree(rng, config, _KERAS_WORDS)
        data = _h5(other, rng if rng.random() < 0.6 else None)
        return bytes_changed(rng, data) if rng.random() < 0.15 else data

    return Format("h5", ".h5", _h5(config, None), changed)


def _keras_zip() -> Format:
    config = _keras_config()
    members = {
        "metadata.json": b'{"keras_version": "3.0.0"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": _h5(None, None),
    }

    def changed(rng: random.Random) -> bytes:
        found = {**members, "config.json": json.dumps(changed_tree(rng, config, _KERAS_WORDS)).encode()}
        if rng.random() < 0.4:
            found["model.weights.h5"] = _h5(None, rng)
        return zipped(changed_members(rng, found) if rng.random() < 0.15 else found)

    return Format("keras", ".keras", zipped(members), changed)


FORMATS: dict[str, Callable[[], Format]] = {
    "module": _module, "state_dict": _state, "safetensors": _safetensors, "program": _program, "onnx": _onnx,
    "h5": _keras_h5, "keras": _keras_zip,
}  # fmt: skip
