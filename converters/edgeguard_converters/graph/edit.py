"""The object form of a .tflite, and the small steps that edits of it are made of.

`model` is the root object of the schema, `graph` one of its subgraphs, `operator` one of the graph's operators.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

_OPS = schema.BuiltinOperator
FILTER_OPS = {_OPS.CONV_2D: 0, _OPS.DEPTHWISE_CONV_2D: 3, _OPS.FULLY_CONNECTED: 0}  # axis of the output channel
_CONSTANTS = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}


def builtin(model: Any, operator: Any) -> int:
    """The schema's number of an operator's kind."""
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def kind(model: Any, operator: Any) -> str:
    """The name of an operator's kind, `CUSTOM` where the schema has none."""
    return flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) or "CUSTOM"


def text(name: bytes | str) -> str:
    """A name of the object form: bytes where it was read, a string where it was set."""
    return name.decode() if isinstance(name, bytes) else name


def producer(graph: Any, tensor: int) -> Any | None:
    """The operator that writes a tensor, or None for an input or a constant."""
    return next((op for op in graph.operators if tensor in op.outputs), None)


def consumers(graph: Any, tensor: int) -> list[Any]:
    """The operators that read a tensor."""
    return [op for op in graph.operators if tensor in op.inputs]


def values(model: Any, tensor: Any, dtype: Any) -> NDArray[Any]:
    """The values of a constant tensor in its shape; a view that cannot be written."""
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(raw, dtype).reshape(tensor.shape)


def constant(model: Any, graph: Any, index: int) -> NDArray[Any] | None:
    """The values of a float32 or int32 constant by its tensor's index, or None where it is something else."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    dtype = _CONSTANTS.get(tensor.type)
    return None if model.buffers[tensor.buffer].data is None or dtype is None else values(model, tensor, dtype)


def add_constant(model: Any, graph: Any, value: NDArray[Any]) -> int:
    """Add a float32 or int32 constant; the index of its tensor."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.buffer = np.array(value.shape, np.int32), len(model.buffers) - 1
    tensor.type = schema.TensorType.FLOAT32 if value.dtype == np.float32 else schema.TensorType.INT32
    tensor.name = f"edgeguard/constant_{len(graph.tensors)}".encode()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def opcode(model: Any, wanted: int) -> int:
    """The index of an operator kind in the model's list, which it is added to where it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = wanted, 1
    code.deprecatedBuiltinCode = wanted
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
