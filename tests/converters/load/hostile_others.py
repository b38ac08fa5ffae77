"""Hostile ONNX, Keras, SavedModel and .tflite files."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from converters.load.hostile_base import Hostile, Make


def _onnx(change: Callable[[Any, Path], None], folder: Path, flag: Path) -> Path:
    import onnx
    from converters.onnx_models import make_onnx

    model = make_onnx(folder / "evil.onnx", 32)
    change(model, flag)
    (folder / "evil.onnx").write_bytes(model.SerializeToString())
    assert isinstance(model, onnx.ModelProto)
    return folder / "evil.onnx"


def _external(place: str, model: Any, flag: Path) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value=place)


def _external_constant(model: Any, flag: Path) -> None:
    from onnx import TensorProto, helper

    tensor = TensorProto(data_type=1, dims=[4], name="c", data_location=1)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def _domain(model: Any, flag: Path) -> None:
    model.opset_import.add(domain="evil", version=1)
    model.graph.node[1].domain = "evil"


def _functions(model: Any, flag: Path) -> None:
    model.functions.add(name="Relu", domain="")


def _inner_graph(operator: str, model: Any, flag: Path) -> None:
    from onnx import helper

    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node(operator, ["x"], ["z"], body=inner))


def _hidden_graph(model: Any, flag: Path) -> None:
    from onnx import helper

    model.graph.node[1].attribute.append(helper.make_attribute("x", helper.make_graph([], "inner", [], [])))


def _claims(model: Any, flag: Path) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 20, 1 << 20])


def _sparse(model: Any, flag: Path) -> None:
    model.graph.sparse_initializer.add()


def _sequence(model: Any, flag: Path) -> None:
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1


ONNX: list[Hostile] = [
    ("weights in /etc", "onnx external", partial(_onnx, partial(_external, "/etc/passwd"))),
    ("weights above", "onnx external", partial(_onnx, partial(_external, "../../etc/passwd"))),
    ("constant above", "onnx external", partial(_onnx, _external_constant)),
    ("foreign domain", "onnx operator", partial(_onnx, _domain)),
    ("own functions", "onnx function", partial(_onnx, _functions)),
    ("If", "onnx operator", partial(_onnx, partial(_inner_graph, "If"))),
    ("Loop", "onnx operator", partial(_onnx, partial(_inner_graph, "Loop"))),
    ("hidden graph", "onnx operator", partial(_onnx, _hidden_graph)),
    ("weights that are not there", "size", partial(_onnx, _claims)),
    ("sparse weights", "onnx operator", partial(_onnx, _sparse)),
    ("sequence", "onnx operator", partial(_onnx, _sequence)),
]


def _layer(layer: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a small Keras model with one odd layer."""
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 32, 32, 3]}}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [first, layer]}}


def _h5(change: Callable[[Any], None] = lambda file: None, config: dict[str, Any] | None = None) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        change(file)
    return stream.getvalue()


def _keras(layer: Callable[[Path], dict[str, Any]], folder: Path, flag: Path, extra: str = "") -> Path:
    path = folder / "evil.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1", "date_saved": "2026-11-29@04:08:47"}')
        archive.writestr("config.json", json.dumps(_layer(layer(flag))))
        archive.writestr("model.weights.h5", _h5())
        if extra:
            archive.writestr(extra, "x")
    return path


def _keras_h5(change: Callable[[Any], None], layer: dict[str, Any], folder: Path, flag: Path) -> Path:
    (folder / "evil.h5").write_bytes(_h5(change, _layer(layer)))
    return folder / "evil.h5"


_FLATTEN = {"module": "keras.layers", "class_name": "Flatten", "config": {"name": "f"}}


def _odd(name: str, module: str | None, /, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "module": module, "config": config, "registered_name": None}


def _link(file: Any) -> None:
    import h5py

    file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file: Any) -> None:
    import h5py

    file["model_weights"] = h5py.SoftLink("/model_weights")


def _external_data(file: Any) -> None:
    file.create_dataset("w", (16,), "u1", external=[("/etc/passwd", 0, 16)])


def _virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout(shape=(16,), dtype="u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(16,))
    file.create_virtual_dataset("w", layout)


def _nothing_there(file: Any) -> None:
    file.create_dataset("w", (1 << 32,), "f4", chunks=(1 << 20,))


KERAS: list[Hostile] = [
    (
        "Lambda",
        "keras code",
        partial(
            _keras,
            lambda f: _odd("Lambda", "keras.layers", function={"class_name": "__lambda__", "config": {"code": "4wEA"}}),
        ),
    ),
    ("os.system", "keras import", partial(_keras, lambda f: _odd("system", "os", command=f"touch {f}"))),
    ("Popen", "keras import", partial(_keras, lambda f: _odd("Popen", "subprocess", args=["touch", str(f)]))),
    (
        "get_file",
        "keras import",
        partial(_keras, lambda f: _odd("function", "keras.utils", name="get_file", origin=f"file://{f}")),
    ),
    (
        "class of Keras that loads",
        "keras import",
        partial(_keras, lambda f: _odd("load_model", "keras.models", filepath=str(f))),
    ),
    (
        "function by name",
        "keras import",
        partial(
            _keras,
            lambda f: _odd(
                "Activation", "keras.layers", activation={"class_name": "function", "config": "system", "module": "os"}
            ),
        ),
    ),
    ("registered class", "keras import", partial(_keras, lambda f: {**_FLATTEN, "registered_name": "evil>Layer"})),
    (
        "vocabulary from a file",
        "keras file",
        partial(_keras, lambda f: _odd("StringLookup", "keras.layers", vocabulary="/etc/passwd")),
    ),
    (
        "TorchModuleWrapper",
        "keras code",
        partial(_keras, lambda f: _odd("TorchModuleWrapper", "keras.layers", module="gASVAA==")),
    ),
    (
        "SavedModel inside",
        "keras file",
        partial(_keras, lambda f: _odd("TFSMLayer", "keras.layers", filepath="/tmp/evil")),
    ),
    ("member above", "archive name", partial(_keras, lambda f: _FLATTEN, extra="../flag")),
    ("member too many", "keras file", partial(_keras, lambda f: _FLATTEN, extra="assets/x")),
    (
        "h5 Lambda",
        "keras code",
        partial(_keras_h5, lambda f: None, _odd("Lambda", None, function=["4wEA", None, None])),
    ),
    ("h5 external link", "hdf5", partial(_keras_h5, _link, _FLATTEN)),
    ("h5 soft link", "hdf5", partial(_keras_h5, _soft_link, _FLATTEN)),
    ("h5 external data", "hdf5", partial(_keras_h5, _external_data, _FLATTEN)),
    ("h5 virtual data", "hdf5", partial(_keras_h5, _virtual, _FLATTEN)),
    ("h5 data that is not there", "size", partial(_keras_h5, _nothing_there, _FLATTEN)),
]
#: The operators that the script `make_hostile_saved.py` puts into SavedModels.
OPERATORS = ("WriteFile", "PrintV2", "CreateSummaryFileWriter", "EagerPyFunc", "ReadFile", "While", "RandomUniform")

#: SavedModels whose operators are all on the list, and what is said of them.
CHANGED = {
    "functions with parameters": "functions with parameters",
    "constant of 4 TB": "values that are not in it",
    "object for a class": "an object of the name '__class__'",
    "countless objects": "more than 50000 objects",
    "link for weights": "is a link",
}


def make_saved_models(folder: Path, flag: Path) -> None:
    """SavedModels in folders with the names of `OPERATORS` and `CHANGED`, made by a process of its own."""
    script = Path(__file__).with_name("make_hostile_saved.py")
    subprocess.run([sys.executable, str(script), str(folder), str(flag)], check=True, capture_output=True, timeout=300)


def _tflite(change: Callable[[Any], None], folder: Path, flag: Path) -> Path:
    """A small float graph: a convolution and a mean, whose object form is changed."""
    from ai_edge_litert import schema_py_generated as schema

    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    model = small_graph(schema)
    change(model)
    (folder / "evil.tflite").write_bytes(TfliteGraph.of(model).data)
    return folder / "evil.tflite"


def small_graph(schema: Any) -> Any:
    """Image (1, 8, 8, 3) -> convolution 1x1 to 4 channels -> mean -> (1, 4)."""

    def tensor(name: str, shape: list[int], buffer: int, kind: int = schema.TensorType.FLOAT32) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), shape, buffer, kind
        return made

    def buffer(data: Any = None) -> Any:
        made = schema.BufferT()
        made.data = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
        return made

    def code(builtin: int) -> Any:
        made = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = builtin, min(builtin, 127), 1
        return made

    def operator(index: int, inputs: list[int], outputs: list[int], options_kind: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = index, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = options_kind, options
        return made

    convolution, mean = schema.Conv2DOptionsT(), schema.ReducerOptionsT()
    convolution.strideW = convolution.strideH = convolution.dilationWFactor = convolution.dilationHFactor = 1
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("x", [1, 8, 8, 3], 0),
        tensor("w", [4, 1, 1, 3], 1),
        tensor("b", [4], 2),
        tensor("y", [1, 8, 8, 4], 0),
        tensor("axes", [2], 3, schema.TensorType.INT32),
        tensor("z", [1, 4], 0),
    ]
    graph.inputs, graph.outputs = [0], [5]
    graph.operators = [
        operator(0, [0, 1, 2], [3], schema.BuiltinOptions.Conv2DOptions, convolution),
        operator(1, [3, 4], [5], schema.BuiltinOptions.ReducerOptions, mean),
    ]
    model = schema.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.operatorCodes = [code(schema.BuiltinOperator.CONV_2D), code(schema.BuiltinOperator.MEAN)]
    model.buffers = [
        buffer(),
        buffer(np.ones((4, 1, 1, 3), np.float32)),
        buffer(np.zeros(4, np.float32)),
        buffer(np.array([1, 2], np.int32)),
    ]
    return model


def _code(builtin: int, custom: bytes | None, model: Any) -> None:
    code = model.operatorCodes[1]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = builtin, min(builtin, 127), custom


def _set(path: str, value: Any, model: Any) -> None:
    *way, last = path.split(".")
    found: Any = model.subgraphs[0]
    for name in way:
        found = found[int(name)] if name.isdecimal() else getattr(found, name)
    if last.isdecimal():
        found[int(last)] = value
    else:
        setattr(found, last, value)


def _second_graph(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def _integer_division(model: Any) -> None:
    _code(42, None, model)  # DIV
    model.subgraphs[0].tensors[3].type = 2
    model.subgraphs[0].tensors[5].type = 2


TFLITE: list[Hostile] = [
    ("WHILE", "tflite operator", partial(_tflite, partial(_code, 119, None))),
    ("CALL_ONCE", "tflite operator", partial(_tflite, partial(_code, 129, None))),
    ("custom operator", "tflite operator", partial(_tflite, partial(_code, 32, b"FlexWriteFile"))),
    ("whole division", "tflite division", partial(_tflite, _integer_division)),
    ("stride of 0", "tflite division", partial(_tflite, partial(_set, "operators.0.builtinOptions.strideW", 0))),
    ("no options", "tflite division", partial(_tflite, partial(_set, "operators.0.builtinOptions", None))),
    ("tensor that is not there", "tflite index", partial(_tflite, partial(_set, "operators.1.inputs.0", 99))),
    ("negative tensor", "tflite index", partial(_tflite, partial(_set, "operators.0.inputs.0", -7))),
    ("buffer that is not there", "tflite index", partial(_tflite, partial(_set, "tensors.1.buffer", 99))),
    ("constant shorter than its shape", "size", partial(_tflite, partial(_set, "tensors.1.shape", [400, 1, 1, 3]))),
    ("tensor of 2^60", "size", partial(_tflite, partial(_set, "tensors.3.shape", [1 << 30, 1 << 15, 1 << 15]))),
    ("negative shape", "size", partial(_tflite, partial(_set, "tensors.3.shape", [1, -8, 8, 4]))),
    ("two graphs", "tflite operator", partial(_tflite, _second_graph)),
    ("circle", "tflite index", partial(_tflite, partial(_set, "operators.0.inputs", [5, 1, 2]))),
]


def other_files() -> Iterator[Hostile]:
    """All but the SavedModels."""
    yield from (*ONNX, *KERAS, *TFLITE)


__all__ = ["CHANGED", "KERAS", "ONNX", "OPERATORS", "TFLITE", "Make", "make_saved_models", "other_files", "small_graph"]
