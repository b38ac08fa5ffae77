"""What Google's edgetpu_compiler will probably say of an int8 graph: which operators map, and where the first break is.

The compiler maps operators from the input on until the first that it cannot; everything after that runs on the CPU. The
rules are those of Coral's documentation ("TensorFlow models on the Edge TPU", supported operations) and of users'
reports; a prediction is no compilation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgeguard_converters.graph import edit
from edgeguard_converters.graph.tflite_graph import TfliteGraph

CUSTOM_OP = "edgetpu-custom-op"
_EIGHT_BITS = (schema.TensorType.INT8, schema.TensorType.UINT8)
#: Compiler 16.0 stops at later ones; a transposed convolution with an activation (4) came after it.
_NEWEST_VERSION = {"QUANTIZE": 2, "EXP": 1, "TRANSPOSE_CONV": 3}
_DATA_INPUT = {"TRANSPOSE_CONV": 2}  # before it come the shape of the output and the weights


@dataclass(frozen=True)
class OperatorVerdict:
    """One operator: `reason` says why it does not map, None that it does."""

    index: int
    name: str
    output: str
    reason: str | None


@dataclass(frozen=True)
class EdgeTpuPrediction:
    """The prediction for a file.

    Attributes:
        compiled: the file is the compiler's output already.
        verdicts: one for each operator, in order.
    """

    compiled: bool
    verdicts: tuple[OperatorVerdict, ...]

    @property
    def first_break(self) -> OperatorVerdict | None:
        """The operator from which on everything runs on the CPU."""
        return next((verdict for verdict in self.verdicts if verdict.reason is not None), None)

    @property
    def mapped(self) -> int:
        """How many operators run on the Edge TPU."""
        first = self.first_break
        return len(self.verdicts) if first is None else first.index

    def summary(self) -> str:
        """One line.

        Example:
            >>> EdgeTpuPrediction(False, (OperatorVerdict(0, "CONV_2D", "a", None),)).summary()
            'predicted: all 1 operators map'
        """
        if self.compiled:
            return "compiled for the Edge TPU"
        first, total = self.first_break, len(self.verdicts)
        if first is None:
            return f"predicted: all {total} operators map"
        return f"predicted: {self.mapped} of {total} operators map, then {first.name} ({first.reason})"


def predict(tflite: TfliteGraph) -> EdgeTpuPrediction:
    """A verdict on every operator of a .tflite's first subgraph."""
    model = tflite.model
    graph = model.subgraphs[0]
    verdicts = []
    for index, operator in enumerate(graph.operators):
        code = model.operatorCodes[operator.opcodeIndex]
        name = _name(model, operator)
        if name == CUSTOM_OP:
            return EdgeTpuPrediction(True, ())
        reason = _too_new(name, code.version) or _types(graph, operator, name) or _rule(name)(graph, operator)
        output = edit.text(graph.tensors[operator.outputs[0]].name)
        verdicts.append(OperatorVerdict(index, name, output, reason))
    return EdgeTpuPrediction(False, tuple(verdicts))


_Rule = Callable[[Any, Any], str | None]


def _always(graph: Any, operator: Any) -> str | None:
    return None


def _same_dilation(graph: Any, operator: Any) -> str | None:
    options = operator.builtinOptions
    if options.dilationWFactor != options.dilationHFactor:
        return "its dilation differs in x and y"
    return None


def _depthwise(graph: Any, operator: Any) -> str | None:
    if operator.builtinOptions.depthMultiplier > 16:
        return f"a depth multiplier of {operator.builtinOptions.depthMultiplier} is unproven"
    return _same_dilation(graph, operator)


def _no_activation(graph: Any, operator: Any) -> str | None:
    if operator.builtinOptions.fusedActivationFunction != 0:
        return "it has a fused activation"
    return None


def _fully_connected(graph: Any, operator: Any) -> str | None:
    if operator.builtinOptions.weightsFormat != 0:
        return "its weights are shuffled"
    shape = _shape(graph, operator.outputs[0])
    return None if int(np.prod(shape[:-1])) == 1 else f"its output {_text(shape)} is not one vector"


def _not_over_batch(graph: Any, operator: Any) -> str | None:
    axes = _constant_axes(graph, operator)
    return "it reduces over the batch" if axes is not None and 0 in axes else None


def _softmax(graph: Any, operator: Any) -> str | None:
    shape = _shape(graph, operator.inputs[0])
    if int(np.prod(shape[:-1])) != 1 or shape[-1] > 16000:
        return f"its input {_text(shape)} is not one vector of at most 16000"
    return None


def _unsupported(name: str) -> _Rule:
    advice = {
        "TRANSPOSE": "it reorders axes inside the graph: put reshapes last, or read this tensor as an output",
        "HARD_SWISH": "train with ReLU6 instead",
        "GELU": "train with ReLU6 instead",
        "SQUARED_DIFFERENCE": "LayerNorm does not map: use BatchNorm",
        "BATCH_MATMUL": "attention does not map",
        "PADV2": "pad with zeros",
        "DEQUANTIZE": "part of the graph is float",
    }.get(name)
    return lambda graph, operator: "the compiler does not know it" + (f"; {advice}" if advice else "")


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(
        ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE",
         "EXPAND_DIMS", "L2_NORMALIZATION", "SQUEEZE", "RESHAPE", "PRELU", "SPACE_TO_DEPTH", "SLICE", "SPLIT", "PACK",
         "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE_CONV", "RSQRT", "PAD", "STRIDED_SLICE"),
        _always,
    ),
    "CONV_2D": _same_dilation,
    "DEPTHWISE_CONV_2D": _depthwise,
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"), _no_activation),
    "FULLY_CONNECTED": _fully_connected,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _not_over_batch),
    "SOFTMAX": _softmax,
}  # fmt: skip


def _rule(name: str) -> _Rule:
    return _RULES.get(name) or _unsupported(name)


def _too_new(name: str, version: int) -> str | None:
    newest = _NEWEST_VERSION.get(name)
    return f"version {version} is newer than {newest}" if newest is not None and version > newest else None


def _types(graph: Any, operator: Any, name: str) -> str | None:
    for index in (operator.inputs[_DATA_INPUT.get(name, 0)], *operator.outputs):
        tensor = graph.tensors[index]
        if tensor.type not in _EIGHT_BITS:
            return "it does not compute in 8 bits"
        signature = tensor.shapeSignature
        if signature is not None and any(int(side) < 0 for side in signature):
            return "its size is not constant"
    return None


def _constant_axes(graph: Any, operator: Any) -> tuple[int, ...] | None:
    """Axes that vanish between input and output, from the shapes."""
    before, after = _shape(graph, operator.inputs[0]), _shape(graph, operator.outputs[0])
    if len(before) != len(after):
        return (0,) if len(after) < 2 and before[0] != 1 else None
    return tuple(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)


def _shape(graph: Any, tensor: int) -> tuple[int, ...]:
    return tuple(int(side) for side in graph.tensors[tensor].shape)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return edit.text(code.customCode)
    return str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))
