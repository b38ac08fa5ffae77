"""Clamps in the words of operators that have an int8 form: `x.clamp(0, 1)`, `hardtanh`, ReLU6, a minimum.

The quantizer knows MUL with an activation and ADD, SUB; it has no form for RELU_0_TO_1, RELU_N1_TO_1, RELU6 and MINIMUM
alone. The values stay what they were.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeguard_converters.graph.edit import add_constant, builtin, constant, opcode

_OPS = schema.BuiltinOperator
_ACTIVATIONS = schema.ActivationFunctionType
#: A clamp alone: the activation that does the same, and the factor that brings its bounds there.
_ALONE = {
    _OPS.RELU6: (_ACTIVATIONS.RELU6, 1.0),
    _OPS.RELU_0_TO_1: (_ACTIVATIONS.RELU6, 6.0),
    _OPS.RELU_N1_TO_1: (_ACTIVATIONS.RELU_N1_TO_1, 1.0),
}


def write_clamps(model: Any) -> bool:
    """Rewrite what clamps in the first subgraph, in place; whether anything changed."""
    graph, changed = model.subgraphs[0], False
    for operator in list(graph.operators):
        kind = builtin(model, operator)
        if kind in _ALONE:
            _as_product(model, graph, operator, *_ALONE[kind])
            changed = True
        elif kind == _OPS.MINIMUM:
            changed = _as_differences(model, graph, operator) or changed
    return changed


def _as_product(model: Any, graph: Any, operator: Any, activation: int, factor: float) -> None:
    """`act(factor * x) / factor`."""
    source, result = operator.inputs[0], operator.outputs[0]
    middle = result if factor == 1.0 else _like(graph, result, b"clamped")
    place = graph.operators.index(operator)
    first = _operator(model, _OPS.MUL, schema.MulOptionsT(), schema.BuiltinOptions.MulOptions, activation)
    first.inputs, first.outputs = [source, _scalar(model, graph, factor)], [middle]
    graph.operators[place] = first
    if factor != 1.0:
        second = _operator(model, _OPS.MUL, schema.MulOptionsT(), schema.BuiltinOptions.MulOptions, _ACTIVATIONS.NONE)
        second.inputs, second.outputs = [middle, _scalar(model, graph, 1 / factor)], [result]
        graph.operators.insert(place + 1, second)


def _as_differences(model: Any, graph: Any, operator: Any) -> bool:
    """`min(x, c) = c - relu(c - x)`, where one side is one constant number."""
    limits = [constant(model, graph, index) for index in operator.inputs]
    known = [place for place, limit in enumerate(limits) if limit is not None and limit.size == 1]
    if len(known) != 1 or limits[known[0]].dtype != np.float32:  # type: ignore[union-attr]  # known ones are no None
        return False
    limit, source, result = operator.inputs[known[0]], operator.inputs[1 - known[0]], operator.outputs[0]
    left, place = _like(graph, result, b"below"), graph.operators.index(operator)
    first = _operator(model, _OPS.SUB, schema.SubOptionsT(), schema.BuiltinOptions.SubOptions, _ACTIVATIONS.RELU)
    first.inputs, first.outputs = [limit, source], [left]
    second = _operator(model, _OPS.SUB, schema.SubOptionsT(), schema.BuiltinOptions.SubOptions, _ACTIVATIONS.NONE)
    second.inputs, second.outputs = [limit, left], [result]
    graph.operators[place : place + 1] = [first, second]
    return True


def _operator(model: Any, kind: int, options: Any, options_kind: int, activation: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, options.fusedActivationFunction = opcode(model, kind), activation
    operator.builtinOptionsType, operator.builtinOptions = options_kind, options
    return operator


def _scalar(model: Any, graph: Any, value: float) -> int:
    return add_constant(model, graph, np.full((1,), value, np.float32))


def _like(graph: Any, index: int, name: bytes) -> int:
    """A new tensor of another's shape."""
    tensor, other = schema.TensorT(), graph.tensors[index]
    tensor.shape, tensor.type, tensor.buffer = other.shape, other.type, 0
    tensor.name = b"edgeguard/" + name + b"_%d" % len(graph.tensors)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
