"""A .tflite as plain data: tensors with their quantisation, operators with their options."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.flatbuffer import ModelFile
from edgeguard.system.foreign import parsing

_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """A tensor of the graph.

    Attributes:
        data: its values where it is a constant, as they are stored.
        scale, zero_point: of its quantisation, one value or one for each slice of `axis`; empty where it has none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: NDArray[np.generic] | None
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int

    @property
    def is_quantized(self) -> bool:
        """True for integers that stand for real values."""
        return len(self.scale) > 0 and self.dtype in ("uint8", "int8", "int16", "int32")

    def centered(self) -> NDArray[np.float32]:
        """A constant's integers less their zero point."""
        assert self.data is not None
        return np.asarray(self.data.astype(np.float64) - self._along_axis(self.zero_point), np.float32)

    def values(self) -> NDArray[np.generic]:
        """A constant's real values in float32; integers without a quantisation (axes, shapes) as they are."""
        assert self.data is not None
        if not self.is_quantized:
            return self.data.astype(np.float32) if self.data.dtype == np.float16 else self.data
        return np.asarray(self.centered() * self._along_axis(self.scale), np.float32)

    def _along_axis(self, values: tuple[float, ...]) -> NDArray[np.float64]:
        assert self.data is not None
        shape = [1] * self.data.ndim
        if len(values) > 1:
            shape[self.axis] = -1
        return np.array(values, np.float64).reshape(shape)


@dataclass(frozen=True, eq=False)
class Operator:
    """One step of the graph: builtin name, tensor numbers (-1: left out) and the options as the schema names them.

    `input_shapes` are those that the file states: with a batch of 1.
    """

    name: str
    inputs: tuple[int, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    options: Any
    output_types: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Graph:
    """The first subgraph of a .tflite."""

    tensors: tuple[TensorSpec, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(data: bytes) -> Graph:
    """Read a .tflite.

    Raises:
        InputError: the bytes are no .tflite, or damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    ModelFile(data).root  # noqa: B018  # within the budget, before a reader follows every reference
    with parsing("the .tflite"):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
        names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
        subgraph = model.subgraphs[0]
        tensors = tuple(_tensor(tensor, model.buffers[tensor.buffer], data) for tensor in subgraph.tensors)
        operators = tuple(_operator(o, model.operatorCodes[o.opcodeIndex], names, tensors) for o in subgraph.operators)
        return Graph(tensors, operators, _numbers(subgraph.inputs), _numbers(subgraph.outputs))


def _operator(operator: Any, code: Any, names: dict[int, str], tensors: tuple[TensorSpec, ...]) -> Operator:
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = names.get(number, str(number))
    if name == "CUSTOM":
        name = (code.customCode or b"CUSTOM").decode("utf-8", "replace")
    inputs = _numbers(operator.inputs)
    shapes = tuple(tensors[number].shape for number in inputs)
    outputs = _numbers(operator.outputs)
    types = tuple(tensors[number].dtype for number in outputs)
    return Operator(name, inputs, shapes, outputs, operator.builtinOptions, types)


def _tensor(tensor: Any, buffer: Any, data: bytes) -> TensorSpec:
    dtype = _DTYPES.get(tensor.type, "unsupported")
    shape = _numbers(tensor.shape)
    quantization = tensor.quantization
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        scale = tuple(float(value) for value in quantization.scale)
        zero_point = _numbers(quantization.zeroPoint) or (0,) * len(scale)
    name = (tensor.name or b"").decode("utf-8", "replace")
    axis = 0 if quantization is None else int(quantization.quantizedDimension)
    return TensorSpec(name, shape, dtype, _constant(buffer, data, dtype, shape), scale, zero_point, axis)


def _constant(buffer: Any, data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[np.generic] | None:
    raw = data[buffer.offset : buffer.offset + buffer.size] if buffer.offset > 1 else buffer.data
    if raw is None or len(raw) == 0 or dtype == "unsupported":
        return None
    return np.frombuffer(bytes(raw), dtype).reshape(shape)


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)
