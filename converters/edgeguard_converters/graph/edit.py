"""Edits of a .tflite after (and one before) quantisation: each of them mends a trap of the tools."""

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgeguard_converters.support.log import chatter_to

_OPS = schema.BuiltinOperator
#: The operator version from which an op takes int8 tensors (TensorFlow Lite's `op_version.cc`).
_INT8_VERSIONS = {
    _OPS.CONV_2D: 3, _OPS.DEPTHWISE_CONV_2D: 3, _OPS.FULLY_CONNECTED: 4, _OPS.TRANSPOSE_CONV: 2, _OPS.ADD: 2,
    _OPS.SUB: 3, _OPS.MUL: 2, _OPS.AVERAGE_POOL_2D: 2, _OPS.MAX_POOL_2D: 2, _OPS.CONCATENATION: 2, _OPS.LOGISTIC: 2,
    _OPS.TANH: 2, _OPS.SOFTMAX: 2, _OPS.MEAN: 2, _OPS.PAD: 2, _OPS.PADV2: 2, _OPS.RELU: 2, _OPS.RELU6: 2,
    _OPS.TRANSPOSE: 2, _OPS.SLICE: 2, _OPS.STRIDED_SLICE: 2, _OPS.SPLIT: 2, _OPS.RESIZE_BILINEAR: 2,
    _OPS.RESIZE_NEAREST_NEIGHBOR: 2, _OPS.SPACE_TO_DEPTH: 2, _OPS.DEPTH_TO_SPACE: 2, _OPS.LEAKY_RELU: 2,
    _OPS.MAXIMUM: 2, _OPS.MINIMUM: 2, _OPS.SUM: 2, _OPS.REDUCE_MAX: 2, _OPS.GATHER: 2, _OPS.QUANTIZE: 1,
    _OPS.DEQUANTIZE: 2,
}  # fmt: skip
FILTER_OPS = {_OPS.CONV_2D: 0, _OPS.DEPTHWISE_CONV_2D: 3, _OPS.FULLY_CONNECTED: 0}  # axis of the output channel
_IO_TYPES = {"uint8": 3, "int8": 9}  # TfLiteType of the modify_model_interface call
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def read(data: bytes) -> Any:
    """The object form of a .tflite, its buffers inside it wherever they were stored."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def write(model: Any) -> bytes:
    """The bytes of an object-form model, all buffers inline."""
    for buffer in model.buffers:
        buffer.offset, buffer.size = 0, 0
        if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)  # a list would be packed byte by byte
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_signature(data: bytes) -> bytes:
    """The graph with a signature of its inputs and outputs, which the quantiser asks for; old files have none."""
    model = read(data)
    if model.signatureDefs:
        return data
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_tensor_map(f"input_{i}", index) for i, index in enumerate(graph.inputs)]
    signature.outputs = [_tensor_map(f"output_{i}", index) for i, index in enumerate(graph.outputs)]
    model.signatureDefs = [signature]
    return write(model)


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry


def mend_dead_filters(data: bytes) -> tuple[bytes, int]:
    """Give each all-zero filter one tiny weight, and count them.

    An all-zero filter gets a scale of about 1e-11, with which its bias overflows int32. One weight of 1e-4 of the
    tensor's largest keeps the scale sane and changes the output by less than a quantisation step.
    """
    model = read(data)
    mended = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            axis = FILTER_OPS.get(builtin(model, operator))
            if axis is None or graph.tensors[operator.inputs[1]].type != schema.TensorType.FLOAT32:
                continue
            tensor = graph.tensors[operator.inputs[1]]
            buffer = model.buffers[tensor.buffer]
            if buffer.data is None:
                continue
            raw = np.asarray(buffer.data, np.uint8).tobytes()
            weights = np.frombuffer(raw, np.float32).reshape(tensor.shape).copy()
            channels = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
            dead = np.flatnonzero(np.abs(channels).max(axis=1) < 1e-12)
            if not len(dead):
                continue
            largest = float(np.abs(weights).max()) or 1.0
            first = np.moveaxis(weights, axis, 0)
            for channel in dead:
                first[channel][(0,) * (weights.ndim - 1)] = 1e-4 * largest
            buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
            mended += len(dead)
    return (write(model), mended) if mended else (data, 0)


def set_int8_versions(data: bytes) -> bytes:
    """Raise operator versions that the quantiser left at those of float operators; buffers go inline."""
    model = read(data)
    for code in model.operatorCodes:
        code.version = max(code.version, _INT8_VERSIONS.get(code.builtinCode, 1))
    return write(model)


def to_integer_io(data: bytes, log: Path, dtype: Literal["uint8", "int8"] = "uint8") -> bytes:
    """Float input and outputs become 8-bit: the QUANTIZE at the input and the DEQUANTIZE at the outputs go away.

    A border whose operator stayed float stays float.

    Raises:
        RuntimeError: the tool said yes and did nothing, or wrote a truncated file (both have been seen).
    """
    from ai_edge_litert import _pywrap_modify_model_interface as interface  # private: pinned and tested

    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        source, target = Path(folder) / "in.tflite", Path(folder) / "out.tflite"
        source.write_bytes(data)
        with chatter_to(log):
            status = interface.modify_model_interface(str(source), str(target), _IO_TYPES[dtype], _IO_TYPES[dtype])
        if status != 0 or not target.is_file():
            raise RuntimeError(f"modify_model_interface failed with status {status} (log: {log})")
        changed = target.read_bytes()
    if len(changed) < 0.8 * len(data):
        raise RuntimeError("modify_model_interface wrote a truncated file")
    return changed


def add_contract(data: bytes, name: str, contract: bytes, labels: tuple[str, ...]) -> bytes:
    """Embed the contract as a metadata entry, then append labels.txt as a zip: the last thing that happens to a file,
    since any later rewrite would drop the zip."""
    model = read(data)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(contract, np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [m for m in model.metadata or [] if m.name not in (name, name.encode())] + [entry]
    written = write(model)
    if not labels:
        return written
    stream = io.BytesIO(written)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("labels.txt", _ZIP_DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, "".join(f"{label}\n" for label in labels))
    return stream.getvalue()


def parameter_count(data: bytes) -> int:
    """How many constant values a float graph holds."""
    model = read(data)
    sizes = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if model.buffers[tensor.buffer].data is not None and tensor.type == schema.TensorType.FLOAT32:
                sizes[tensor.buffer] = len(model.buffers[tensor.buffer].data) // 4
    return sum(sizes.values())


def operators(data: bytes) -> dict[str, int]:
    """Histogram of operators by name."""
    model = read(data)
    counts: dict[str, int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) or "CUSTOM"
            counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def operator_outputs(data: bytes) -> list[tuple[str, str]]:
    """Kind and first output's name of each operator, in order."""
    model = read(data)
    graph = model.subgraphs[0]
    return [
        (flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) or "CUSTOM", _text(graph.tensors[op.outputs[0]].name))
        for op in graph.operators
    ]


def hard_swishes(data: bytes) -> list[tuple[str, str]]:
    """Input's and output's name of each HARD_SWISH."""
    model = read(data)
    graph = model.subgraphs[0]
    found = [op for op in graph.operators if builtin(model, op) == _OPS.HARD_SWISH]
    return [(_text(graph.tensors[op.inputs[0]].name), _text(graph.tensors[op.outputs[0]].name)) for op in found]


def first_operators(data: bytes) -> set[str]:
    """Outputs of the operators that read the graph's input."""
    graph = read(data).subgraphs[0]
    readers = [op for op in graph.operators if set(map(int, graph.inputs)) & set(map(int, op.inputs))]
    return {_text(graph.tensors[op.outputs[0]].name) for op in readers}


def borders(data: bytes) -> tuple[list[str], list[str]]:
    """Type and shape of each input and output, for people: `uint8 1x224x224x3`."""
    graph = read(data).subgraphs[0]
    kinds = {value: name.lower() for name, value in vars(schema.TensorType).items() if name.isupper()}

    def text(index: int) -> str:
        tensor = graph.tensors[index]
        return f"{kinds.get(tensor.type, '?')} {'x'.join(str(int(side)) for side in tensor.shape)}"

    return [text(i) for i in graph.inputs], [text(i) for i in graph.outputs]


def float_operators(data: bytes) -> list[tuple[str, str]]:
    """Kind and first output's name of the operators that compute in float; conversions between types do not."""
    model = read(data)
    graph = model.subgraphs[0]
    found = []
    for op in graph.operators:
        kind = flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) or "CUSTOM"
        output = graph.tensors[op.outputs[0]]
        if kind != "DEQUANTIZE" and output.type == schema.TensorType.FLOAT32:
            found.append((kind, _text(output.name)))
    return found


def inlined(data: bytes) -> bytes:
    """The same graph with all buffers inside the flatbuffer."""
    return write(read(data))


def first_not_finite(data: bytes) -> str | None:
    """The name of the first constant float tensor that holds NaN or infinity."""
    model = read(data)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            values = model.buffers[tensor.buffer].data
            if values is None or tensor.type != schema.TensorType.FLOAT32:
                continue
            if not np.isfinite(np.frombuffer(np.asarray(values, np.uint8).tobytes(), np.float32)).all():
                return _text(tensor.name)
    return None


def float_tensors(data: bytes) -> list[str]:
    """Names of float tensors that an operator touches; empty for an integer-only graph."""
    model = read(data)
    found = []
    for graph in model.subgraphs:
        used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
        for index in sorted(used):
            if graph.tensors[index].type in (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16):
                found.append(_text(graph.tensors[index].name))
    return found


def has_offset_buffers(data: bytes) -> bool:
    """True when a buffer is stored behind the flatbuffer, where old tools and compilers do not look."""
    packed = schema.Model.GetRootAs(bytearray(data), 0)
    return any(packed.Buffers(i).Offset() > 1 for i in range(packed.BuffersLength()))


def builtin(model: Any, operator: Any) -> int:
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
