"""Single-operator .tflite files, made by hand, for comparing our operators with the runtime's."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int8": 9}


def one_op_model(
    op: str,
    options: Any,
    constants: list[NDArray[np.generic]],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    *,
    data_first: bool = True,
    output_type: str = "float32",
) -> bytes:
    """A float graph of one operator; the image is its first input, or its last one."""
    model = schema.ModelT()
    model.version, model.description = 3, b"test"
    model.buffers = [_buffer(None)]
    tensors = [_tensor("image", input_shape, "float32", 0)]
    for number, values in enumerate(constants):
        model.buffers.append(_buffer(values))
        tensors.append(_tensor(f"c{number}", values.shape, values.dtype.name, number + 1))
    tensors.append(_tensor("out", output_shape, output_type, 0))
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 2 if op == "BROADCAST_TO" else 1
    operator = schema.OperatorT()
    numbers = list(range(1, len(constants) + 1))
    operator.opcodeIndex, operator.outputs = 0, [len(tensors) - 1]
    operator.inputs = [0, *numbers] if data_first else [*numbers, 0]
    if options is not None:
        operator.builtinOptions = options
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs, graph.name = [0], [len(tensors) - 1], b"main"
    model.subgraphs, model.operatorCodes = [graph], [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(values: NDArray[np.generic] | None) -> Any:
    buffer = schema.BufferT()
    buffer.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
    return buffer


def _tensor(name: str, shape: tuple[int, ...], dtype: str, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), _TYPES[dtype], buffer
    return tensor
