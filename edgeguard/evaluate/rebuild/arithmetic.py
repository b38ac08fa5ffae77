"""TensorFlow Lite's elementwise operators and reductions in torch; see `operators` for what a function gets.

What has no useful derivative (rounding, a cast to integers) passes its gradient on as if it were not there. Comparisons
and the places of extremes have none.
"""

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.rebuild.graph import Operator

Inputs = Sequence[Tensor]
Function = Callable[[Operator, Inputs, tuple[int, ...]], Tensor | tuple[Tensor, ...]]
_WHOLE = ("int8", "uint8", "int16", "int32", "int64")


def mean(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The mean over the axes of the second input, which stay as 1 where `keepDims` says so."""
    return inputs[0].mean(_axes(inputs), keepdim=bool(operator.options.keepDims))


def total(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The sum over the axes of the second input, which stay as 1 where `keepDims` says so."""
    return inputs[0].sum(_axes(inputs), keepdim=bool(operator.options.keepDims))


def reduce_max(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The largest value over the axes of the second input, which stay as 1 where `keepDims` says so."""
    return inputs[0].amax(_axes(inputs), keepdim=bool(operator.options.keepDims))


def reduce_min(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The smallest value over the axes of the second input, which stay as 1 where `keepDims` says so."""
    return inputs[0].amin(_axes(inputs), keepdim=bool(operator.options.keepDims))


def arg_max(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The first place of the largest value along the axis of the second input."""
    return inputs[0].argmax(int(inputs[1].reshape(-1)[0]))


def arg_min(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The first place of the smallest value along the axis of the second input."""
    return inputs[0].argmin(int(inputs[1].reshape(-1)[0]))


def cumsum(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Sums of all values so far along the axis of the second input: from the end, or without the own one, as said."""
    x, axis = inputs[0], int(inputs[1].reshape(-1)[0])
    x = x.flip(axis) if operator.options.reverse else x
    found = x.cumsum(axis)
    found = found - x if operator.options.exclusive else found
    return found.flip(axis) if operator.options.reverse else found


def softmax(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Over the last axis, of the input times `beta`."""
    return torch.softmax(inputs[0] * operator.options.beta, dim=-1)


def local_response_normalization(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Divided by (bias + alpha times the sum of squares of the channels within `radius`) to the power of beta."""
    options, x = operator.options, inputs[0]
    radius = min(int(options.radius), x.shape[-1] - 1)
    sums = F.pad(x.square(), (radius, radius)).unfold(-1, 2 * radius + 1, 1).sum(-1)
    return x / (options.bias + options.alpha * sums).pow(options.beta)


def l2_normalization(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The last axis divided by its Euclidean length, or by 1e-6 where that is larger."""
    return F.normalize(inputs[0], dim=-1, eps=1e-6)


def gelu(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """x times the normal distribution's share below x, or its tanh approximation."""
    return F.gelu(inputs[0], approximate="tanh" if operator.options.approximate else "none")


def cast(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """To integers towards zero, to truth values what is not 0. Whole numbers stay float, so that a gradient passes."""
    x, wanted = inputs[0], operator.output_types[0]
    if wanted == "bool":
        return x != 0
    if not x.dtype.is_floating_point:
        return x.float() if wanted.startswith("float") else x
    return _straight_through(x, torch.trunc(x)) if wanted in _WHOLE else x


def select(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The second input where the first is true, else the third; one truth value an image counts for all of it."""
    condition, chosen, other = inputs
    if operator.name == "SELECT" and condition.ndim == 1 < chosen.ndim:
        condition = condition.reshape(-1, *[1] * (chosen.ndim - 1))
    return torch.where(condition, chosen, other)


def add_n(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The sum of all inputs."""
    return functools.reduce(torch.add, inputs)


def _straight_through(x: Tensor, found: Tensor) -> Tensor:
    return x + (found - x).detach()


def _axes(inputs: Inputs) -> list[int]:
    return [int(axis) for axis in inputs[1].reshape(-1).tolist()]


def _unary(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda operator, inputs, shape: function(inputs[0])


def _rounded(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda operator, inputs, shape: _straight_through(inputs[0], function(inputs[0]))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda operator, inputs, shape: function(inputs[0], inputs[1])


ARITHMETIC: dict[str, Function] = {
    "MEAN": mean,
    "SUM": total,
    "REDUCE_MAX": reduce_max,
    "REDUCE_MIN": reduce_min,
    "ARG_MAX": arg_max,
    "ARG_MIN": arg_min,
    "CUMSUM": cumsum,
    "SOFTMAX": softmax,
    "LOG_SOFTMAX": _unary(lambda x: torch.log_softmax(x, dim=-1)),
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "L2_NORMALIZATION": l2_normalization,
    "GELU": gelu,
    "CAST": cast,
    "SELECT": select,
    "SELECT_V2": select,
    "ADD_N": add_n,
    "PRELU": _binary(lambda x, slope: torch.where(x >= 0, x, x * slope)),
    "LEAKY_RELU": lambda operator, inputs, shape: F.leaky_relu(inputs[0], operator.options.alpha),
    "ADD": _binary(torch.add),
    "SUB": _binary(torch.sub),
    "MUL": _binary(torch.mul),
    "DIV": _binary(torch.div),
    "MAXIMUM": _binary(torch.maximum),
    "MINIMUM": _binary(torch.minimum),
    "SQUARED_DIFFERENCE": _binary(lambda a, b: (a - b) ** 2),
    "POW": _binary(torch.pow),
    "LESS": _binary(torch.lt),
    "LESS_EQUAL": _binary(torch.le),
    "GREATER": _binary(torch.gt),
    "GREATER_EQUAL": _binary(torch.ge),
    "EQUAL": _binary(torch.eq),
    "NOT_EQUAL": _binary(torch.ne),
    "LOGICAL_AND": _binary(torch.logical_and),
    "LOGICAL_OR": _binary(torch.logical_or),
    "LOGICAL_NOT": _unary(torch.logical_not),
    "LOGISTIC": _unary(torch.sigmoid),
    "TANH": _unary(torch.tanh),
    "RELU": _unary(F.relu),
    "RELU6": _unary(F.relu6),
    "RELU_N1_TO_1": _unary(F.hardtanh),
    "RELU_0_TO_1": _unary(lambda x: x.clamp(0, 1)),
    "ELU": _unary(F.elu),
    "HARD_SWISH": _unary(F.hardswish),
    "EXP": _unary(torch.exp),
    "LOG": _unary(torch.log),
    "SIN": _unary(torch.sin),
    "COS": _unary(torch.cos),
    "SQRT": _unary(torch.sqrt),
    "RSQRT": _unary(torch.rsqrt),
    "SQUARE": _unary(torch.square),
    "NEG": _unary(torch.neg),
    "ABS": _unary(torch.abs),
    "FLOOR": _rounded(torch.floor),
    "CEIL": _rounded(torch.ceil),
    "ROUND": _rounded(torch.round),
    "QUANTIZE": _unary(lambda x: x),
    "DEQUANTIZE": _unary(lambda x: x),
}
