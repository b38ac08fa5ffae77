"""An ONNX graph as a torch module: straight-line code, one function for each operator.

What does not depend on the picture (weights that are transposed or dequantized, sizes that are computed from shapes) is
computed once, as the module is made; the rest is what the module runs.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.onnx_graph.arrangement import ARRANGEMENT
from edgeguard_converters.load.onnx_graph.elementwise import ELEMENTWISE
from edgeguard_converters.load.onnx_graph.layers import LAYERS
from edgeguard_converters.load.onnx_graph.node import Function, Node, attribute_value, tensor_of
from edgeguard_converters.load.onnx_graph.quantized import QUANTIZED

OPERATORS = {**ELEMENTWISE, **ARRANGEMENT, **LAYERS, **QUANTIZED}
_OF_SHAPE = ("Shape", "Size")  # of a picture whose size is fixed they are numbers
_MOST_BYTES = 1 << 33


@dataclass(frozen=True, eq=False)
class _Step:
    function: Function
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]


class OnnxModule(torch.nn.Module):
    """A graph that takes one picture at a time.

    Args:
        model: a checked `ModelProto`, its input's size written into it.

    Raises:
        InputError: an operator is not supported, or fails; the message names it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        graph = model.graph
        constants = {tensor.name: tensor_of(tensor) for tensor in graph.initializer}
        self._input = next(value.name for value in graph.input if value.name not in constants)
        self._outputs = tuple(value.name for value in graph.output)
        self._shape = tuple(side.dim_value for side in _sides(graph, self._input))
        opset = max(entry.version for entry in model.opset_import)
        steps = _Builder(constants, self._input, self._shape, opset).steps(graph.node)
        self._steps = _needed(steps.program, self._outputs)
        self._names: dict[str, str] = {}
        for number, name in enumerate(_constants_of(self._steps, self._outputs, steps.fixed)):
            value = steps.fixed[name]
            self._names[name] = f"w{number}"
            if value.is_floating_point() and name not in steps.statistics:
                self.register_parameter(f"w{number}", torch.nn.Parameter(value))
            else:
                self.register_buffer(f"w{number}", value)

    def forward(self, x: torch.Tensor) -> Any:
        """Pictures of the graph's own layout to its outputs."""
        if x.shape[0] != self._shape[0]:
            parts = [self.forward(image) for image in torch.split(x, self._shape[0])]
            if isinstance(parts[0], tuple):
                return tuple(torch.cat(values) for values in zip(*parts, strict=True))
            return torch.cat(parts)
        values = {self._input: x, **{name: getattr(self, held) for name, held in self._names.items()}}
        for step in self._steps:
            found = step.function(*(None if name is None else values[name] for name in step.inputs))
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
        outputs = tuple(values[name] for name in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs


@dataclass(frozen=True, eq=False)
class _Steps:
    program: list[_Step]
    fixed: dict[str, torch.Tensor]
    statistics: frozenset[str]  # of batch normalization, which are not trained


class _Builder:
    """Runs a graph once on an empty picture, and writes down what depends on the picture."""

    def __init__(self, constants: dict[str, torch.Tensor], given: str, shape: tuple[int, ...], opset: int) -> None:
        self._fixed, self._opset = dict(constants), opset
        self._values = {**constants, given: torch.zeros(shape)}
        self._held = 0

    @torch.no_grad()
    def steps(self, nodes: Any) -> _Steps:
        program: list[_Step] = []
        statistics: set[str] = set()
        for proto in nodes:
            node = self._node(proto)
            outputs = tuple(proto.output)
            if node.op == "Constant":
                self._keep(outputs[:1], (_constant(node),), fixed=True)
                continue
            maker = OPERATORS.get(node.op)
            if maker is None:
                raise node.refusal("is not supported")
            given = [self._values[name] if name else None for name in node.inputs]
            try:
                function = maker(node)
                found = function(*given)
            except InputError:
                raise
            except Exception as error:
                raise node.refusal(f"fails: {' '.join(str(error).split())[:160]}") from error
            found = found if isinstance(found, tuple) else (found,)
            fixed = node.op in _OF_SHAPE or all(name in self._fixed for name in node.inputs if name)
            self._keep(outputs, found, fixed=fixed)
            if node.op == "DynamicQuantizeLinear":
                self._fixed.update(zip(outputs[1:], found[1:], strict=False))
            if node.op == "BatchNormalization":
                statistics.update(node.inputs[3:5])
            if not fixed:
                program.append(_Step(function, tuple(name or None for name in node.inputs), outputs))
        return _Steps(program, self._fixed, frozenset(statistics))

    def _node(self, proto: Any) -> Node:
        for name in proto.input:
            if name and name not in self._values:
                raise InputError(f"the ONNX graph uses {name[:80]!r} before anything makes it")
        return Node(
            op=proto.op_type,
            name=proto.name,
            opset=self._opset,
            inputs=tuple(proto.input),
            outputs=sum(bool(name) for name in proto.output),
            attributes={attribute.name: attribute_value(attribute) for attribute in proto.attribute},
            known=tuple(self._fixed.get(name) if name else None for name in proto.input),
            shapes=tuple(tuple(self._values[name].shape) if name else () for name in proto.input),
        )

    def _keep(self, names: tuple[str, ...], found: tuple[torch.Tensor, ...], *, fixed: bool) -> None:
        for name, value in zip(names, found, strict=False):
            value = value.float() if value.dtype == torch.float64 else value
            self._held += value.numel() * value.element_size()
            if self._held > _MOST_BYTES:
                raise InputError("the ONNX graph computes more numbers than a vision model does; refused")
            self._values[name] = value
            if fixed:
                self._fixed[name] = value


def _constant(node: Node) -> torch.Tensor:
    for name, kind in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                       ("value_ints", torch.int64)):  # fmt: skip
        if name in node.attributes:
            return torch.tensor(node.attributes[name], dtype=kind)
    value = node.attributes.get("value")
    if not isinstance(value, torch.Tensor):
        raise node.refusal("holds no numbers")
    return value


def _needed(program: list[_Step], outputs: tuple[str, ...]) -> list[_Step]:
    """The steps that the outputs depend on."""
    wanted, kept = set(outputs), []
    for step in reversed(program):
        if wanted & set(step.outputs):
            kept.append(step)
            wanted.update(name for name in step.inputs if name)
    return [replace(step) for step in reversed(kept)]


def _constants_of(steps: list[_Step], outputs: tuple[str, ...], fixed: dict[str, torch.Tensor]) -> list[str]:
    used = [name for step in steps for name in step.inputs if name in fixed]
    return list(dict.fromkeys([*used, *(name for name in outputs if name in fixed)]))


def _sides(graph: Any, name: str) -> Any:
    return next(value.type.tensor_type.shape.dim for value in graph.input if value.name == name)
