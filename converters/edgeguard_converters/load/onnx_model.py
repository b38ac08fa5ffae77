"""An ONNX model, built anew from the parts of a stranger's that are known.

ONNX files name other files for their weights, hold functions of their own and graphs within graphs, and operators of
any domain. What the importer sees is made here: one flat graph, operators of the standard set, weights inside. Weights
of a file beside are read from the model's own folder alone.
"""

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from edgeguard.errors import InputError
from edgeguard.system.names import is_plain_name

_OPERATORS_LISTED = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu Clip
Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div
Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND
Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish
Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg
NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1
ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
Resize RoiAlign Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where
Xor
"""
_OPERATORS = frozenset(_OPERATORS_LISTED.split())
_DOMAINS = ("", "ai.onnx")
_MOST_NODES = 100_000
_MOST_TENSOR_BYTES = 1 << 32
_SHARED_BYTES = 1 << 26  # of files beside that weights may take again and again
#: The file of an external weight, as protobuf writes it: the key, the length of the name in one byte or two, the name.
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f]|[\x80-\xff]\x01)(?=(.{1,255}))", re.DOTALL)
_MOST_MODEL_BYTES = 1 << 31
_MOST_BESIDE, _LONGEST_ENTRY, _PIECE = 1000, 300, 1 << 22
#: Bytes of an item of each of ONNX's types that a vision model holds.
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_INTEGERS, _FLOATS, _INTS, _STRINGS, _FLOAT, _TEXT, _TENSOR = 2, 6, 7, 8, 1, 3, 4


def fresh_model(data: bytes, name: str, folder: Path | None = None) -> Any:
    """The model that the importer sees.

    Args:
        data: of the file.
        name: of the file, for messages.
        folder: of the file, where weights of a file beside are looked for; None: nowhere.

    Raises:
        InputError: it is no ONNX model, or holds what is not allowed.
    """
    import onnx

    old = onnx.ModelProto()
    try:
        old.ParseFromString(data)
    except Exception as error:
        raise InputError(f"{name} is not an ONNX model that can be read: {_first_line(error)}") from error
    if old.functions or old.training_info:
        raise InputError(f"{name} holds functions or training of its own, which is not allowed; refused")
    versions = [entry.version for entry in old.opset_import if entry.domain in _DOMAINS]
    if len(versions) != 1:
        raise InputError(f"{name} names {len(versions)} versions of ONNX's own operators; one is wanted")
    graph = old.graph
    if len(graph.node) > _MOST_NODES or graph.sparse_initializer:
        raise InputError(f"{name} has more nodes than a model has, or sparse weights; refused")
    beside = _Beside(folder, name)
    for tensor in graph.initializer:
        beside.take_in(tensor)
        _check_tensor(tensor, name)
    fresh = onnx.ModelProto(ir_version=old.ir_version, producer_name="edgeguard")
    fresh.opset_import.add(domain="", version=versions[0])
    fresh.graph.name = "graph"
    fresh.graph.node.extend(_fresh_node(onnx, node, name) for node in graph.node)
    fresh.graph.initializer.extend(_fresh_tensor(onnx, tensor) for tensor in graph.initializer)
    for kept, values in ((fresh.graph.input, graph.input), (fresh.graph.output, graph.output)):
        kept.extend(_fresh_value(onnx, value, name) for value in values)
    try:
        onnx.checker.check_model(fresh)
    except Exception as error:
        raise InputError(f"{name} is not an ONNX model that can be read: {_first_line(error)}") from error
    return fresh


def weights_beside(path: Path) -> tuple[Path, ...]:
    """Files in a model's own folder that it names: those that may hold its weights. It is read in pieces.

    Raises:
        InputError: it is larger than a protobuf message can be; holes cost their maker nothing, and are read too.
    """
    named = set[str]()
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size > _MOST_MODEL_BYTES:
                raise InputError(f"{path.name} has more than {_MOST_MODEL_BYTES} bytes, which no ONNX file has")
            for name in _named(stream):
                named.add(name)  # many weights may lie in one file
                if len(named) == _MOST_BESIDE:
                    break
    except (OSError, ValueError):
        return ()
    return tuple(sorted(path.parent / name for name in named if _is_beside(path.parent / name, path)))


def _named(stream: BinaryIO) -> Iterator[str]:
    """Plain names of files in a model's bytes: each stands behind the key `location`, as every writer writes it."""
    data = b""
    while piece := stream.read(_PIECE):
        data = data[-_LONGEST_ENTRY:] + piece  # what lies across two pieces is found in the second one
        for found in _LOCATION.finditer(data):
            length = found[1][0] & 0x7F | (found[1][1] << 7 if len(found[1]) > 1 else 0)
            name = found[2][:length].decode("utf-8", "replace")
            if len(found[2]) >= length and is_plain_name(name) and "/" not in name:
                yield name


def _is_beside(path: Path, model: Path) -> bool:
    try:
        return path != model and path.is_file() and not path.is_symlink()
    except OSError:
        return False


class _Beside:
    """Files beside a model that hold its weights."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder, self._name = folder, name
        self._files: dict[str, bytes] = {}
        self._taken = 0

    def take_in(self, tensor: Any) -> None:
        """Put the numbers of a weight that lie in such a file into the weight."""
        if tensor.data_location != 1:  # EXTERNAL
            return
        told = {entry.key: entry.value for entry in tensor.external_data}
        data = self._file(told.get("location", ""))
        try:
            begin, length = int(told.get("offset", "0")), int(told.get("length", str(len(data))))
        except ValueError:
            begin = length = -1
        if begin < 0 or length < 0 or begin + length > len(data):
            raise InputError(f"{self._name}: the weight {tensor.name[:80]!r} lies outside of the file that holds it")
        self._taken += length
        if self._taken > max(_SHARED_BYTES, 2 * sum(map(len, self._files.values()))):  # tied weights may lie there once
            raise InputError(f"{self._name}: its weights take the same bytes of the files beside it too often; refused")
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data[begin : begin + length]

    def _file(self, location: str) -> bytes:
        if self._folder is None or not is_plain_name(location) or "/" in location or "\\" in location:
            raise InputError(
                f"{self._name} keeps weights in {location[:80]!r}, which is not in its own folder; refused: put the "
                "file beside the model, or save it with the weights inside"
            )
        if location not in self._files:
            if len(self._files) == _MOST_BESIDE:
                raise InputError(
                    f"{self._name} keeps its weights in more than {_MOST_BESIDE} files beside it: save it with the "
                    "weights inside, or in one file"
                )
            self._files[location] = self._read(self._folder / location)
        return self._files[location]

    def _read(self, path: Path) -> bytes:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise InputError(
                f"{self._name} keeps its weights in {path.name}, which cannot be read beside it: {error.strerror}"
            ) from error
        with open(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_TENSOR_BYTES:
                raise InputError(f"{self._name}: {path.name} is no file of weights, or is too large; refused")
            return stream.read(_MOST_TENSOR_BYTES)


def _fresh_node(onnx: Any, node: Any, name: str) -> Any:
    if node.domain not in _DOMAINS or node.op_type not in _OPERATORS:
        named = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise InputError(f"{name} holds the operator {named[:60]!r}, which is not on the list; refused, it was not run")
    fresh = onnx.NodeProto(op_type=node.op_type, name=node.name[:500])
    fresh.input.extend(node.input)
    fresh.output.extend(node.output)
    for attribute in node.attribute:
        fresh.attribute.add().CopyFrom(_fresh_attribute(onnx, attribute, name))
    return fresh


def _fresh_attribute(onnx: Any, attribute: Any, name: str) -> Any:
    fresh = onnx.AttributeProto(name=attribute.name, type=attribute.type)
    kind = attribute.type
    if attribute.ref_attr_name or kind not in (_FLOAT, _INTEGERS, _TEXT, _TENSOR, _FLOATS, _INTS, _STRINGS):
        raise InputError(f"{name} holds a graph within its graph, or another attribute that is not allowed; refused")
    if kind == _TENSOR:
        _check_tensor(attribute.t, name)
        fresh.t.CopyFrom(_fresh_tensor(onnx, attribute.t))
    elif kind in (_FLOATS, _INTS, _STRINGS):
        field = {_FLOATS: "floats", _INTS: "ints", _STRINGS: "strings"}[kind]
        getattr(fresh, field).extend(getattr(attribute, field))
    else:
        field = {_FLOAT: "f", _INTEGERS: "i", _TEXT: "s"}[kind]
        setattr(fresh, field, getattr(attribute, field))
    return fresh


def _check_tensor(tensor: Any, name: str) -> None:
    """Weights lie inside the file and are as many as their shape says."""
    if tensor.external_data or tensor.data_location or tensor.HasField("segment"):
        raise InputError(f"{name} keeps numbers of its graph in other files: save it with the weights inside")
    item = _ITEM_BYTES.get(tensor.data_type)
    if item is None or any(side < 0 for side in tensor.dims) or len(tensor.dims) > 16:
        raise InputError(f"{name} holds a weight of a type or shape that is not allowed; refused")
    if tensor.HasField("raw_data") and any(_values(tensor)):
        raise InputError(f"{name} holds the numbers of a weight twice, which readers take differently; refused")
    count = math.prod(tensor.dims)
    held = len(tensor.raw_data) // item if tensor.HasField("raw_data") else max(map(len, _values(tensor)))
    if count * item > _MOST_TENSOR_BYTES or held != count:
        raise InputError(f"{name} holds a weight of {held} values whose shape says {count}; refused")


def _fresh_tensor(onnx: Any, tensor: Any) -> Any:
    fresh = onnx.TensorProto(data_type=tensor.data_type, name=tensor.name)
    fresh.dims.extend(tensor.dims)
    if tensor.HasField("raw_data"):
        fresh.raw_data = tensor.raw_data
    else:
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            getattr(fresh, field).extend(getattr(tensor, field))
    return fresh


def _values(tensor: Any) -> Iterable[Any]:
    return tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data


def _fresh_value(onnx: Any, value: Any, name: str) -> Any:
    """An input or an output: a tensor with its shape."""
    if not value.type.HasField("tensor_type"):
        raise InputError(f"{name} has an input or output that is no tensor; refused")
    fresh = onnx.ValueInfoProto(name=value.name)
    fresh.type.tensor_type.elem_type = value.type.tensor_type.elem_type
    if value.type.tensor_type.HasField("shape"):
        fresh.type.tensor_type.shape.SetInParent()
    for dimension in value.type.tensor_type.shape.dim:
        kept = fresh.type.tensor_type.shape.dim.add()
        if dimension.HasField("dim_value"):
            kept.dim_value = dimension.dim_value
        elif dimension.HasField("dim_param"):
            kept.dim_param = dimension.dim_param[:100]
    return fresh


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:250]
