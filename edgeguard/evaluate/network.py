"""The graph of a .tflite as a torch module: its weights, its quantisation simulated with straight-through gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor

from edgeguard.errors import InputError
from edgeguard.evaluate.graph import Graph, Operator, TensorSpec
from edgeguard.evaluate.operators import ACTIVATIONS, OPERATORS
from edgeguard.model.contract import Contract

_RANGES = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}
_PASSED_THROUGH = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE")


class CannotRebuild(InputError):
    """The graph has something that the twin does not know; gradient-free attacks still work."""


class Network(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Levels of the model's input size to outputs.

    Takes float32 (n, 3, h, w), RGB levels 0..255; returns (n, classes): logits where the graph ends in SOFTMAX, else
    its dequantised output. Integer tensors are rounded to their grid in the forward pass; backward, the rounding counts
    as the identity and what left the range has no gradient.

    Raises:
        CannotRebuild: an operator that is not known, by name, or more than one input.
    """

    def __init__(self, graph: Graph, contract: Contract) -> None:
        super().__init__()
        if unknown := sorted({o.name for o in graph.operators} - set(OPERATORS)):
            raise CannotRebuild(f"the twin does not know {', '.join(unknown)}: only gradient-free attacks are possible")
        if len(graph.inputs) != 1:
            raise CannotRebuild(f"the graph has {len(graph.inputs)} inputs; an image classifier has one")
        self.graph, self.contract = graph, contract
        self.logits = _logits(graph)
        self._constants: dict[int, str] = {}
        for number, spec in enumerate(graph.tensors):
            if spec.data is not None:
                self._constants[number] = f"constant_{number}"
                self.register_buffer(f"constant_{number}", torch.from_numpy(spec.values().copy()))
        self._steps = list(_needed(graph, graph.outputs[0]))
        self._last_use = {n: i for i, step in enumerate(self._steps) for n in step.inputs}
        self.batches = all(_keeps_batch(graph, step) for step in self._steps)

    def forward(self, levels: Tensor) -> Tensor:
        """See the class."""
        return self._in_batches(levels, self.logits)

    def outputs(self, levels: Tensor) -> Tensor:
        """What the file itself returns, a closing SOFTMAX included, dequantised."""
        return self._in_batches(levels, self.graph.outputs[0])

    def _in_batches(self, levels: Tensor, wanted: int) -> Tensor:
        if self.batches or len(levels) == 1:
            return self._run(levels, wanted)
        return torch.cat([self._run(image, wanted) for image in levels.split(1)])

    def _run(self, levels: Tensor, wanted: int) -> Tensor:
        number = self.graph.inputs[0]
        values = {number: _on_grid(self._as_input(levels), self.graph.tensors[number])}
        for index, step in enumerate(self._steps):
            inputs = [values[n] if n in values else getattr(self, self._constants[n]) for n in step.inputs if n >= 0]
            result = OPERATORS[step.name](step, inputs, self.graph.tensors[step.outputs[0]].shape)
            activation = ACTIVATIONS[getattr(step.options, "fusedActivationFunction", 0)]
            for n, part in zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=True):
                values[n] = _on_grid(activation(part), self.graph.tensors[n])
            if wanted in step.outputs:
                break
            for n in step.inputs:
                if self._last_use[n] == index:
                    values.pop(n, None)
        return values[wanted].reshape(len(levels), -1)

    def _as_input(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels to the real values of the input tensor, NHWC."""
        x = levels.permute(0, 2, 3, 1)
        spec = self.graph.tensors[self.graph.inputs[0]]
        if spec.dtype == "float32":
            mean, std = (torch.tensor(v, dtype=torch.float32) for v in self._normalisation())
            return (x - mean) / std
        offset = spec.zero_point[0] + (128 if spec.dtype == "int8" else 0)
        return (x - offset) * spec.scale[0]

    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.contract.preprocess.mean, self.contract.preprocess.std


def _on_grid(x: Tensor, spec: TensorSpec) -> Tensor:
    """Real values rounded to an integer tensor's grid and range; float tensors as they are."""
    if not spec.is_quantised or spec.dtype not in _RANGES:
        return x
    low, high = _RANGES[spec.dtype]
    return torch.fake_quantize_per_tensor_affine(x, spec.scale[0], spec.zero_point[0], low, high)


def _keeps_batch(graph: Graph, step: Operator) -> bool:
    """False where a step joins the batch axis with others, as transformers' reshapes do: then images go one by one."""
    if any(graph.tensors[n].shape[:1] != (1,) for n in step.outputs):
        return False
    parameters = [graph.tensors[n].data for n in step.inputs if n >= 0]
    if step.name == "TRANSPOSE":
        return parameters[1] is not None and int(parameters[1][0]) == 0
    if step.name in ("MEAN", "SUM", "REDUCE_MAX"):
        axes = parameters[1]
        return axes is not None and not {0, -len(step.input_shapes[0])} & {int(axis) for axis in axes.reshape(-1)}
    return not (step.name in ("CONCATENATION", "PACK", "UNPACK", "GATHER") and step.options.axis == 0)


def _logits(graph: Graph) -> int:
    """The tensor before a closing SOFTMAX, else the output."""
    makers = {o.outputs[0]: o for o in graph.operators}
    number = graph.outputs[0]
    while number in makers:
        maker = makers[number]
        if maker.name == "SOFTMAX":
            return maker.inputs[0]
        if maker.name not in _PASSED_THROUGH:
            break
        number = maker.inputs[0]
    return graph.outputs[0]


def _needed(graph: Graph, output: int) -> Iterable[Operator]:
    """The operators that the output depends on, in order."""
    wanted, chosen = {output}, []
    for operator in reversed(graph.operators):
        if wanted & set(operator.outputs):
            wanted.update(operator.inputs)
            chosen.append(operator)
    return reversed(chosen)
