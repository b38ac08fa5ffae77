"""The graph of a .tflite as a torch module: its weights, its quantisation simulated with straight-through gradients."""

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.differentiable.surrogates import bpda
from edgeguard.errors import InputError
from edgeguard.evaluate.rebuild.fixed_point import SumScales, fixed_point_sum, sum_scales
from edgeguard.evaluate.rebuild.graph import Graph, Operator, TensorSpec, read_graph
from edgeguard.evaluate.rebuild.operators import ACTIVATIONS, OPERATORS, unsupported
from edgeguard.evaluate.rebuild.tables import Table, table_of
from edgeguard.model import Model
from edgeguard.model.contract import Contract
from edgeguard.model.flatbuffer import LARGEST_FILE
from edgeguard.system.foreign import parsing, read_bounded

_RANGES = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}
#: Real bounds of the fused activations that only clamp: none, RELU, RELU_N1_TO_1, RELU6.
_CLAMPS: dict[int, tuple[float | None, float | None]] = {0: (None, None), 1: (0, None), 2: (-1, 1), 3: (0, 6)}
_TIE = 1e-4  # of a step: means of integers have exact halves, which the runtime rounds up
_PASSED_THROUGH = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE")


class CannotRebuild(InputError):
    """The graph has something that the twin does not know; gradient-free attacks still work."""


class Network(torch.nn.Module):
    """Levels of the model's input size to outputs.

    Takes float32 (n, 3, h, w), RGB levels 0..255; returns (n, classes): logits where the graph ends in SOFTMAX, else
    its dequantised output. Integer tensors are rounded to their grid in the forward pass; backward, the rounding counts
    as the identity and what left the range has no gradient.

    Raises:
        CannotRebuild: operators or options that are not known, by name, or more than one input.

    Args:
        graph: the file's.
        contract: the file's.
        every_output: keep what all outputs depend on, not only the first.
    """

    def __init__(self, graph: Graph, contract: Contract, *, every_output: bool = False) -> None:
        super().__init__()
        if unknown := sorted({what for o in graph.operators if (what := unsupported(o)) is not None}):
            raise CannotRebuild(f"the twin does not know {', '.join(unknown)}: only gradient-free attacks are possible")
        if len(graph.inputs) != 1:
            raise CannotRebuild(f"the graph has {len(graph.inputs)} inputs; an image classifier has one")
        self.graph, self.contract = graph, contract
        self.logits = _logits(graph)
        self._steps = list(_needed(graph, *(graph.outputs if every_output else graph.outputs[:1])))
        self._last_use = {n: i for i, step in enumerate(self._steps) for n in step.inputs}
        self.batches = all(_keeps_batch(graph, step) for step in self._steps)
        for number, spec in enumerate(graph.tensors):
            if spec.data is not None:
                self.register_buffer(f"constant_{number}", torch.from_numpy(spec.values().copy()))
        self._sums: dict[int, SumScales] = {}
        self._tables: dict[int, Table] = {}
        for number, step in enumerate(self._steps):
            if self._is_integer(step):
                self._keep_integers(number, step)
            elif (scales := self._sum_scales(step)) is not None:
                self._sums[number] = scales
                for n in step.inputs:
                    if graph.tensors[n].data is not None:
                        self.register_buffer(f"centered_{n}", torch.from_numpy(graph.tensors[n].centered()))
            elif (table := table_of(step, graph.tensors[step.inputs[0]], graph.tensors[step.outputs[0]])) is not None:
                self._tables[number] = table

    def forward(self, levels: Tensor) -> Tensor:
        """See the class."""
        return self.values(levels, (self.logits,))[0].reshape(len(levels), -1)

    def outputs(self, levels: Tensor) -> Tensor:
        """What the file itself returns, a closing SOFTMAX included, dequantised."""
        return self.values(levels, (self.graph.outputs[0],))[0].reshape(len(levels), -1)

    def tensor(self, levels: Tensor, number: int) -> Tensor:
        """Real values of a tensor that the first output depends on: (n, its other axes in one)."""
        return self.values(levels, (number,))[0].reshape(len(levels), -1)

    def values(self, levels: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """Real values of some of the graph's tensors, by number, with the batch axis first.

        They have to be among what the network's outputs depend on.
        """
        if self.batches or len(levels) == 1:
            return self._run(levels, wanted)
        each = [self._run(image, wanted) for image in levels.split(1)]
        return [torch.cat([_with_batch(part) for part in parts]) for parts in zip(*each, strict=True)]

    def _run(self, levels: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
        """Tensors on an integer grid are kept as integers less their zero point, the others as real values."""
        missing = set(wanted) - {self.graph.inputs[0]}
        number = self.graph.inputs[0]
        values = {number: self._to_grid(self._as_input(levels), number)}
        for index, step in enumerate(self._steps):
            if self._is_integer(step):
                values[step.outputs[0]] = self._integer_step(index, step, values[step.inputs[0]])
            elif index in self._sums:
                first, second = (self._centered(values, n) for n in step.inputs)
                values[step.outputs[0]] = fixed_point_sum(first, second, self._sums[index], *self._bounds(step))
            else:
                inputs = [self._given(step, values, n) for n in step.inputs if n >= 0]
                result = OPERATORS[step.name](step, inputs, self.graph.tensors[step.outputs[0]].shape)
                activation = ACTIVATIONS[_activation(step)]
                for n, part in zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=True):
                    values[n] = self._to_grid(activation(part), n, step.name)
                if index in self._tables:
                    number = step.outputs[0]
                    values[number] = bpda(self._tables[index](values[step.inputs[0]]), values[number])
            missing -= set(step.outputs)
            if not missing:
                break
            for n in step.inputs:
                if self._last_use[n] == index and n not in wanted:
                    values.pop(n, None)
        return [self._real(values, number) for number in wanted]

    def _is_integer(self, step: Operator) -> bool:
        """Sums of products of integers, which float32 holds exactly: then ties round as they do in the runtime."""
        tensors = [self.graph.tensors[n] for n in (*step.inputs[:2], step.outputs[0])]
        return (
            step.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
            and all(_has_grid(spec) for spec in tensors)
            and tensors[1].data is not None
            and _activation(step) in _CLAMPS
        )

    def _keep_integers(self, number: int, step: Operator) -> None:
        source, weights, out = (self.graph.tensors[n] for n in (*step.inputs[:2], step.outputs[0]))
        # in float32 and in this order, as the runtime's kernels have it: the last bit decides ties
        scale = np.array(weights.scale, np.float32) * np.float32(source.scale[0]) / np.float32(out.scale[0])
        self.register_buffer(f"weights_{number}", torch.from_numpy(weights.centered()))
        self.register_buffer(f"scale_{number}", torch.from_numpy(scale))
        bias = self.graph.tensors[step.inputs[2]].data if len(step.inputs) > 2 and step.inputs[2] >= 0 else None
        kept = None if bias is None else torch.from_numpy(bias.astype(np.float32))
        self.register_buffer(f"bias_{number}", kept)

    def _integer_step(self, number: int, step: Operator, x: Tensor) -> Tensor:
        spec = self.graph.tensors[step.outputs[0]]
        weights, bias, scale = (getattr(self, f"{name}_{number}") for name in ("weights", "bias", "scale"))
        inputs = [x, weights] if bias is None else [x, weights, bias]
        sums = OPERATORS[step.name](step, inputs, spec.shape)
        assert isinstance(sums, Tensor)
        return _on_grid(sums, scale, *self._bounds(step))

    def _bounds(self, step: Operator) -> tuple[int, int]:
        """Of an integer output behind its fused activation, less its zero point."""
        spec = self.graph.tensors[step.outputs[0]]
        low, high = _RANGES[spec.dtype]
        zero = spec.zero_point[0]
        least, most = _CLAMPS[_activation(step)]
        low = max(low, zero + round(least / spec.scale[0])) if least is not None else low
        high = min(high, zero + round(most / spec.scale[0])) if most is not None else high
        return low - zero, high - zero

    def _sum_scales(self, step: Operator) -> SumScales | None:
        """Of an ADD or SUB that the runtime computes in whole numbers."""
        if step.name not in ("ADD", "SUB") or _activation(step) not in _CLAMPS:
            return None
        tensors = [self.graph.tensors[n] for n in (*step.inputs, step.outputs[0])]
        if any(not _has_grid(spec) or spec.dtype == "int16" or len(spec.scale) != 1 for spec in tensors):
            return None
        return sum_scales(*(spec.scale[0] for spec in tensors), minus=step.name == "SUB")

    def _centered(self, values: dict[int, Tensor], number: int) -> Tensor:
        """The integers of a tensor with a grid, less their zero point; constants too."""
        return values[number] if number in values else getattr(self, f"centered_{number}")

    def _given(self, step: Operator, values: dict[int, Tensor], number: int) -> Tensor:
        """What a step gets of a tensor: its real values; CAST gets the integers as they are stored."""
        spec = self.graph.tensors[number]
        if step.name == "CAST" and number in values and _has_grid(spec):
            return values[number] + spec.zero_point[0]
        return self._real(values, number)

    def _real(self, values: dict[int, Tensor], number: int) -> Tensor:
        if number not in values:
            return getattr(self, f"constant_{number}")
        spec = self.graph.tensors[number]
        return values[number] * spec.scale[0] if _has_grid(spec) else values[number]

    def _to_grid(self, x: Tensor, number: int, maker: str = "") -> Tensor:
        """Real values to the integers of their tensor, rounded and clipped; values of float tensors as they are."""
        spec = self.graph.tensors[number]
        if not _has_grid(spec):
            return x
        zero, (low, high) = spec.zero_point[0], _RANGES[spec.dtype]
        if maker == "QUANTIZE":
            return _to_steps(x, spec.scale[0], low - zero, high - zero)
        scaled = x / spec.scale[0] + (_TIE if maker == "AVERAGE_POOL_2D" else 0.0)
        return _on_grid(scaled, _ONE, low - zero, high - zero)

    def _as_input(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels to the real values of the input tensor, NHWC."""
        x = levels.permute(0, 2, 3, 1)
        spec = self.graph.tensors[self.graph.inputs[0]]
        if spec.dtype == "float32":
            mean, std = (torch.tensor(v, dtype=torch.float32) for v in self._normalization())
            return (x - mean) / std
        if not spec.is_quantized:  # whole numbers that the graph casts itself
            return x - (128 if spec.dtype == "int8" else 0)
        offset = spec.zero_point[0] + (128 if spec.dtype == "int8" else 0)
        return (x - offset) * spec.scale[0]

    def _normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.contract.preprocess.mean, self.contract.preprocess.std


class _OnGrid(torch.autograd.Function):
    """torch's `fake_quantize_per_tensor_affine` of x times a scale, with a step of 1: the same values, four times as
    fast on a CPU, since each of its loops has vectors. What left the range has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        grid = (x * scale).round_()  # less the zero point, which is added after the rounding and taken off again
        clipped = grid.clamp(low, high)
        ctx.save_for_backward(clipped == grid if ctx.needs_input_grad[0] else None, scale)
        return clipped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inside, scale = ctx.saved_tensors
        return (gradient * scale).mul_(inside), None, None, None


_on_grid: Callable[[Tensor, Tensor, int, int], Tensor] = _OnGrid.apply  # torch gives `apply` no types
_ONE = torch.ones(())


def _to_steps(x: Tensor, step: float, low: int, high: int) -> Tensor:
    """Real values to whole steps. The runtime's kernel multiplies by the reciprocal in float32, which decides ties."""
    return _on_grid(x, torch.tensor(np.float32(1) / np.float32(step)), low, high)


def rebuild(path: str | os.PathLike[str], model: Model) -> Network:
    """The graph of a file, once more in torch, tried on zeros.

    Args:
        path: of the .tflite.
        model: the same file, loaded.

    Raises:
        CannotRebuild: see `Network`; the graph is not proven harmless, since torch would run it in this process; or
            torch does not take it.
        InputError: the file has changed since.
    """
    if model.isolated is not None:
        raise CannotRebuild(f"the twin is for graphs that may run in this process ({model.isolated})")
    data = read_bounded(path, LARGEST_FILE, "the model")
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise InputError(f"{path} has changed since it was loaded")
    spec = model.contract.input
    try:
        with parsing("the graph"):
            network = Network(read_graph(data), model.contract)
            with torch.no_grad():
                network(torch.zeros(1, 3, spec.height, spec.width))
    except CannotRebuild:
        raise
    except InputError as error:
        raise CannotRebuild(f"the twin cannot follow this graph: {error}") from error
    return network


def _with_batch(x: Tensor) -> Tensor:
    """A value of one image with the batch axis, which some graphs lose on the way."""
    return x if x.ndim and len(x) == 1 else x[None]


def _has_grid(spec: TensorSpec) -> bool:
    return spec.is_quantized and spec.dtype in _RANGES


def _activation(step: Operator) -> int:
    return int(getattr(step.options, "fusedActivationFunction", 0))


def _keeps_batch(graph: Graph, step: Operator) -> bool:
    """False where a step joins the batch axis with others, as transformers' reshapes do: then images go one by one."""
    if any(graph.tensors[n].shape[:1] != (1,) for n in step.outputs):
        return False
    parameters = [graph.tensors[n].data for n in step.inputs if n >= 0]
    if step.name == "TRANSPOSE":
        return parameters[1] is not None and int(parameters[1][0]) == 0
    if step.name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "ARG_MAX", "ARG_MIN", "CUMSUM", "REVERSE_V2"):
        axes = parameters[1]
        return axes is not None and not {0, -len(step.input_shapes[0])} & {int(axis) for axis in axes.reshape(-1)}
    if step.name in ("SHAPE", "FILL", "BROADCAST_TO"):  # what follows counts on the shapes that the file states
        return False
    return not (step.name in ("CONCATENATION", "PACK", "UNPACK", "GATHER") and step.options.axis == 0)


def _logits(graph: Graph) -> int:
    """The tensor before a closing SOFTMAX or LOG_SOFTMAX, else the output."""
    makers = {o.outputs[0]: o for o in graph.operators}
    number = graph.outputs[0]
    while number in makers:
        maker = makers[number]
        if maker.name in ("SOFTMAX", "LOG_SOFTMAX"):
            return maker.inputs[0]
        if maker.name not in _PASSED_THROUGH:
            break
        number = maker.inputs[0]
    return graph.outputs[0]


def _needed(graph: Graph, *outputs: int) -> Iterable[Operator]:
    """The operators that the outputs depend on, in order."""
    wanted, chosen = set(outputs), list[Operator]()
    for operator in reversed(graph.operators):
        if wanted & set(operator.outputs):
            wanted.update(operator.inputs)
            chosen.append(operator)
    return reversed(chosen)
