"""Operators of one 8-bit tensor as tables: the runtime itself is given the 256 values that there are.

Its kernels round swish, sigmoid and their like each in their own way, and otherwise on other processors. A table has
what this runtime on this machine answers, bit for bit.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.errors import EdgeGuardError
from edgeguard.evaluate.rebuild.graph import Operator, TensorSpec
from edgeguard.model.runtime import load_runner

#: Those that look at one value at a time.
UNARY = (
    *("ABS", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG", "QUANTIZE", "RELU", "RELU6"),
    *("RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "SQUARE", "TANH"),
)
_LOWEST = {"uint8": 0, "int8": -128}
_VALUES = 256


class Table(torch.nn.Module):
    """Whole numbers less their zero point to the same of the operator's output; no gradient.

    Args:
        answers: for each stored value, from the lowest on, what is stored of the output.
        source, out: the tensors.
    """

    answers: Tensor

    def __init__(self, answers: NDArray[np.generic], source: TensorSpec, out: TensorSpec) -> None:
        super().__init__()
        self.register_buffer("answers", torch.from_numpy(answers.astype(np.float32) - out.zero_point[0]))
        self._first = source.zero_point[0] - _LOWEST[source.dtype]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.answers[x.detach().to(torch.int32) + self._first]


def table_of(operator: Operator, source: TensorSpec, out: TensorSpec) -> Table | None:
    """The table of an operator; None where it is not of one 8-bit tensor, or the runtime does not take it alone.

    Args:
        operator: of a graph that is known to be harmless.
        source, out: its input and output.
    """
    if operator.name not in UNARY or any(
        spec.dtype not in _LOWEST or len(spec.scale) != 1 or spec.data is not None for spec in (source, out)
    ):
        return None
    low = _LOWEST[source.dtype]
    values = np.arange(low, low + _VALUES).astype(source.dtype)[None]
    try:
        (answers,) = load_runner(_alone(operator, source, out)).run_raw(values)
    except (EdgeGuardError, RuntimeError, ValueError):
        return None
    return Table(answers.reshape(-1), source, out)


def _alone(operator: Operator, source: TensorSpec, out: TensorSpec) -> bytes:
    """A .tflite with this operator alone, for a row of 256 values."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator.name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    step = schema.OperatorT()
    step.opcodeIndex, step.inputs, step.outputs = 0, [0], [1]
    if operator.options is not None:
        kind = type(operator.options).__name__.removesuffix("T")
        step.builtinOptionsType, step.builtinOptions = getattr(schema.BuiltinOptions, kind), operator.options
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(schema, spec) for spec in (source, out)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [step]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(schema: Any, spec: TensorSpec) -> Any:
    made = schema.TensorT()
    made.shape, made.buffer = [1, _VALUES], 0
    made.type = schema.TensorType.UINT8 if spec.dtype == "uint8" else schema.TensorType.INT8
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale, made.quantization.zeroPoint = list(spec.scale), list(spec.zero_point)
    return made
