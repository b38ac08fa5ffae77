"""ONNX operators that work on each number, or on tensors' shapes, as torch's."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from edgeguard_converters.load.onnx_graph.node import Function, Maker, Node

_TYPES = {1: torch.float32, 10: torch.float32, 11: torch.float32, 16: torch.float32, 2: torch.uint8, 3: torch.int8,
          5: torch.int32, 6: torch.int32, 7: torch.int64, 12: torch.int64, 13: torch.int64, 9: torch.bool}  # fmt: skip


def _plain(function: Callable[..., Any]) -> Maker:
    return lambda node: function


def _folded(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Maker:
    """An operator of any number of inputs."""

    def run(*values: torch.Tensor) -> torch.Tensor:
        result = values[0]
        for value in values[1:]:
            result = function(result, value)
        return result

    return lambda node: run


def _divide(node: Node) -> Function:
    def run(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.is_floating_point() or b.is_floating_point():
            return a / b
        return torch.div(a, b, rounding_mode="trunc")

    return run


def _modulo(node: Node) -> Function:
    return torch.fmod if node.get("fmod", 0) else torch.remainder


def _power(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.pow(a, b.to(a.dtype))


def _pow(node: Node) -> Function:
    exponent = node.known[1]
    if exponent is None or exponent.numel() != 1:
        return _power
    number = float(exponent)
    if number == 2:
        return lambda a, _: a * a
    return (lambda a, _: torch.sqrt(a)) if number == 0.5 else (lambda a, _: torch.pow(a, number))


def _clip(node: Node) -> Function:
    if "min" in node.attributes or "max" in node.attributes:
        low, high = node.get("min", -math.inf), node.get("max", math.inf)
    else:
        low, high = node.number(1, -math.inf), node.number(2, math.inf)
    if (low, high) == (0, 6):
        return lambda x, *_: functional.relu6(x) if x.is_floating_point() else x.clamp(0, 6)
    if low == 0 and high > 1e30:
        return lambda x, *_: torch.relu(x)
    bounds = [None if math.isinf(value) else value for value in (low, high)]
    if bounds == [None, None]:
        return lambda x, *_: x
    return lambda x, *_: torch.clamp(x, *(v if v is None or x.is_floating_point() else int(v) for v in bounds))


def _cast(node: Node) -> Function:
    kind = _TYPES.get(int(node.get("to", 1)))
    if kind is None:
        raise node.refusal("casts to a type that is not supported")
    return lambda x, *_: x.to(kind)


def _hard_sigmoid(node: Node) -> Function:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-4 and beta == 0.5:
        return functional.hardsigmoid
    return lambda x: torch.clamp(x * alpha + beta, 0, 1)


def _gelu(node: Node) -> Function:
    how = node.get("approximate", "none")
    return lambda x: functional.gelu(x, approximate=how)


def _axis_function(function: Callable[..., torch.Tensor], old_axis: int) -> Maker:
    """Softmax and its kin: before operator set 13 they flattened everything behind the axis."""

    def make(node: Node) -> Function:
        axis = node.at(node.get("axis", old_axis if node.opset < 13 else -1))
        if node.opset >= 13 or axis == len(node.shapes[0]) - 1:
            return lambda x: function(x, dim=axis)
        return lambda x: function(x.flatten(axis), dim=-1).reshape(x.shape)

    return make


def _reduce(function: Callable[..., torch.Tensor]) -> Maker:
    def make(node: Node) -> Function:
        axes, keep = node.axes(1), bool(node.get("keepdims", 1))
        if not axes and node.get("noop_with_empty_axes", 0):
            return lambda x, *_: x
        dims = [node.at(axis) for axis in axes] if axes else list(range(len(node.shapes[0])))
        return lambda x, *_: function(x, dims, keep)

    return make


def _extreme(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda x, dims, keep: function(x, dim=dims, keepdim=keep)


def _product(x: torch.Tensor, dims: list[int], keep: bool) -> torch.Tensor:
    for dim in sorted(dims, reverse=True):
        x = torch.prod(x, dim, keepdim=keep)
    return x


def _arg(function: Callable[..., torch.Tensor]) -> Maker:
    def make(node: Node) -> Function:
        if node.get("select_last_index", 0):
            raise node.refusal("looks for the last of several, which is not supported")
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        return lambda x: function(x, dim=axis, keepdim=keep)

    return make


def _shape(node: Node) -> Function:
    begin, end = node.get("start", 0), node.get("end")
    return lambda x: torch.tensor(list(x.shape)[begin:end], dtype=torch.int64)


ELEMENTWISE: dict[str, Maker] = {
    "Abs": _plain(torch.abs), "Acos": _plain(torch.acos), "Add": _plain(torch.add), "And": _plain(torch.logical_and),
    "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "Asin": _plain(torch.asin), "Atan": _plain(torch.atan),
    "Cast": _cast, "CastLike": _plain(lambda x, like: x.to(like.dtype)), "Ceil": _plain(torch.ceil),
    "Celu": lambda n: lambda x: functional.celu(x, n.get("alpha", 1.0)), "Clip": _clip, "Cos": _plain(torch.cos),
    "Cosh": _plain(torch.cosh), "Div": _divide, "Elu": lambda n: lambda x: functional.elu(x, n.get("alpha", 1.0)),
    "Equal": _plain(torch.eq), "Erf": _plain(torch.erf), "Exp": _plain(torch.exp), "Floor": _plain(torch.floor),
    "Gelu": _gelu, "Greater": _plain(torch.gt), "GreaterOrEqual": _plain(torch.ge), "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish), "Identity": _plain(lambda x: x), "IsInf": _plain(torch.isinf),
    "IsNaN": _plain(torch.isnan), "LeakyRelu": lambda n: lambda x: functional.leaky_relu(x, n.get("alpha", 0.01)),
    "Less": _plain(torch.lt), "LessOrEqual": _plain(torch.le), "Log": _plain(torch.log),
    "LogSoftmax": _axis_function(torch.log_softmax, 1), "Max": _folded(torch.maximum),
    "Mean": lambda n: lambda *v: sum(v[1:], v[0]) / len(v), "Min": _folded(torch.minimum),
    "Mish": _plain(functional.mish), "Mod": _modulo, "Mul": _plain(torch.mul), "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not), "Or": _plain(torch.logical_or), "Pow": _pow,
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL1": _reduce(lambda x, dims, keep: torch.sum(x.abs(), dims, keep)),
    "ReduceL2": _reduce(lambda x, dims, keep: torch.sqrt(torch.sum(x * x, dims, keep))),
    "ReduceLogSumExp": _reduce(lambda x, dims, keep: torch.logsumexp(x, dims, keep)),
    "ReduceMax": _reduce(_extreme(torch.amax)), "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(_extreme(torch.amin)), "ReduceProd": _reduce(_product), "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(lambda x, dims, keep: torch.sum(x * x, dims, keep)), "Relu": _plain(torch.relu),
    "Round": _plain(torch.round), "Selu": lambda n: functional.selu, "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid), "Sign": _plain(torch.sign), "Sin": _plain(torch.sin),
    "Size": _plain(lambda x: torch.tensor(x.numel())), "Softmax": _axis_function(torch.softmax, 1),
    "Softplus": _plain(functional.softplus), "Softsign": _plain(functional.softsign), "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub), "Sum": _folded(torch.add), "Tan": _plain(torch.tan), "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": lambda n: lambda x: functional.threshold(x, n.get("alpha", 1.0), 0.0),
    "Where": _plain(torch.where), "Xor": _plain(torch.logical_xor),
}  # fmt: skip
