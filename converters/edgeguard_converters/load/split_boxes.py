"""Detectors that give boxes and class scores in one tensor: the two are separated where they are computed.

One int8 tensor has one scale. Boxes in pixels need steps of about one; scores lie in 0..1 and would all become 0. So
the slices that separate them are moved up through concatenations and reshapes, to the operators that made each part.
"""

import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.fx import GraphModule, Node

BOX_NUMBERS = 4


def with_separate_boxes(module: torch.nn.Module, example: torch.Tensor) -> torch.nn.Module:
    """The module itself, or one with outputs (boxes, scores) where it returns both in one (1, 4 + classes, n).

    `example` is an input that the module takes.
    """
    with torch.inference_mode():
        outputs = module(example)
    axis = joined_axis(outputs)
    if axis is None:
        return module
    graph_module = module if isinstance(module, GraphModule) else exported(module, example)
    graph_module = exported(graph_module, example)  # exported again: every node then carries its shape
    node = next(n for n in graph_module.graph.nodes if n.op == "output")
    joined = _only(node.args[0])
    size = int(_shape(joined)[axis])
    with graph_module.graph.inserting_before(node):
        parts = (
            _take(graph_module, joined, axis, 0, BOX_NUMBERS),
            _take(graph_module, joined, axis, BOX_NUMBERS, size),
        )
    node.args = (parts,)
    graph_module.graph._codegen = torch.fx.graph.CodeGen()  # the old one flattens the old output
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    return _Called(graph_module)


def joined_axis(outputs: Any) -> int | None:
    """The axis of 4 + classes in a lone (n, 4 + classes, boxes) or (n, boxes, 4 + classes) output; None for others."""
    tensors = list(outputs.values()) if isinstance(outputs, dict) else outputs
    tensors = tensors if isinstance(tensors, (tuple, list)) else (tensors,)
    if len(tensors) != 1 or tensors[0].ndim != 3 or min(tensors[0].shape[1:]) <= BOX_NUMBERS:
        return None
    return 1 if tensors[0].shape[1] < tensors[0].shape[2] else 2


class _Called(torch.nn.Module):
    """A graph module that is called with the image alone."""

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__()
        self.graph_module = graph_module

    def forward(self, x: torch.Tensor) -> Any:
        return self.graph_module(x)


def exported(module: torch.nn.Module, example: torch.Tensor) -> GraphModule:
    """The module as a graph whose nodes carry their shapes, for inputs like the example."""
    return torch.export.export(module, (example,)).module(check_guards=False)


def _only(value: Any) -> Node:
    while isinstance(value, (tuple, list)):
        (value,) = value
    assert isinstance(value, Node)
    return value


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(int(side) for side in node.meta["val"].shape)


def _take(module: GraphModule, node: Node, axis: int, low: int, high: int) -> Node:
    """A node for `node[..., low:high, ...]` along an axis, as close to its origin as slices can go."""
    shape = _shape(node)
    if (low, high) == (0, shape[axis]):
        return node
    name = str(node.target)
    if name.startswith("aten.cat") or name.startswith("aten.concat"):
        parts = cast(Sequence[Node], node.args[0])
        at = cast(int, node.args[1]) if len(node.args) > 1 else 0
        taken = _of_parts(module, parts, at % len(shape), axis, low, high)
        return taken[0] if len(taken) == 1 else module.graph.call_function(torch.ops.aten.cat.default, (taken, at))
    if name.startswith(("aten.view", "aten.reshape", "aten.flatten", "aten._unsafe_view")):
        before = _shape(_only(node.args[0]))
        if before[: axis + 1] == shape[: axis + 1]:
            inner = _take(module, _only(node.args[0]), axis, low, high)
            wanted = [high - low if i == axis else side for i, side in enumerate(shape)]
            return module.graph.call_function(torch.ops.aten.reshape.default, (inner, wanted))
    if name.startswith(("aten.permute", "aten.transpose")):
        order = _order(node, len(shape))
        inner = _take(module, _only(node.args[0]), order[axis], low, high)
        return module.graph.call_function(torch.ops.aten.permute.default, (inner, order))
    if name.startswith(("aten.clone", "aten.contiguous")):
        return _take(module, _only(node.args[0]), axis, low, high)
    return module.graph.call_function(torch.ops.aten.slice.Tensor, (node, axis, low, high))


def _of_parts(module: GraphModule, parts: Sequence[Node], at: int, axis: int, low: int, high: int) -> list[Node]:
    """The slices of a concatenation's parts that make up [low, high)."""
    if at != axis:
        return [_take(module, part, axis, low, high) for part in parts]
    taken, start = [], 0
    for part in parts:
        size = _shape(part)[axis]
        first, last = max(low - start, 0), min(high - start, size)
        if first < last:
            taken.append(_take(module, part, axis, first, last))
        start += size
    return taken


def _order(node: Node, rank: int) -> list[int]:
    if str(node.target).startswith("aten.permute"):
        return [operator.index(axis) % rank for axis in cast(Sequence[int], node.args[1])]
    first, second = (operator.index(axis) % rank for axis in cast(tuple[int, int], node.args[1:3]))
    order = list(range(rank))
    order[first], order[second] = second, first
    return order
