"""Quantization-aware finishing: a short training with fake quantization, for models that lose too much to int8.

Every convolution and matrix product sees weights rounded to int8 (a scale for each filter) and gives activations
rounded to 8 bits (one range for each tensor), while gradients pass as if nothing had been rounded (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3). Batch
normalization keeps its statistics. The loss is the labels' cross-entropy plus the divergence from what the float model
said.
"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional

from edgeguard.errors import InputError
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.split_boxes import exported
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.quantize.training import BATCH

_RATE = 2e-4
_WEIGHTED = ("aten.conv2d", "aten.linear", "aten._convolution", "aten.convolution")
_ROUNDED = (
    *_WEIGHTED,
    "aten.add",
    "aten.mul",
    "aten.relu",
    "aten.hardtanh",
    "aten.relu6",
    "aten.batch_norm",
    "aten.cat",
)
_OBSERVED = 128  # images whose activations set the ranges
Ranges = dict[str, tuple[float, float]]


class QuantizedTraining:
    """A `Training` in this process.

    Args:
        source: the classifier.
        normalization: of its input.
        size: width and height of the input.

    Raises:
        InputError: the module cannot be exported for training.

    Example:
        >>> training = QuantizedTraining(source, normalization, (224, 224))  # doctest: +SKIP
        >>> training.show(pixels, targets)
        >>> for epoch in range(training.begin(None, 2), 2):
        ...     for batch in range(-(-len(pixels) // BATCH)):
        ...         training.train(epoch, batch)
        >>> training.tuned().outputs(normalization.apply(pixels))
    """

    def __init__(self, source: TorchSource, normalization: Normalization, size: tuple[int, int]) -> None:
        self._source, self._normalization = source, normalization
        example = torch.zeros(1, size[1], size[0], 3)
        try:
            self._module = exported(source.module, example if source.channels_last else example.permute(0, 3, 1, 2))
        except Exception as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"torch cannot export the model for fine-tuning: {reason}") from error
        self._pixels: list[NDArray[np.uint8]] = []
        self._targets: list[NDArray[np.int64]] = []
        self._teacher: list[torch.Tensor] = []

    @property
    def identity(self) -> str:
        """The hash of the weights."""
        total = hashlib.sha256()
        for name, tensor in sorted(self._source.module.state_dict().items()):
            total.update(name.encode() + tensor.detach().numpy().tobytes())
        return f"module {total.hexdigest()}"

    def show(self, pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> None:
        """See `Training.show`."""
        with torch.no_grad():
            said = torch.cat([_scores(self._module(self._input(image))) for image in pixels])
        if not 0 <= targets.min() <= targets.max() < said.shape[1]:
            raise InputError(
                f"an image's label is output {targets.max()} of a model with {said.shape[1]} outputs: "
                "the folders of --finetune are other classes"
            )
        self._pixels.extend(pixels)
        self._targets.append(targets)
        self._teacher.append(said)

    def begin(self, state: bytes | None, epochs: int) -> int:
        """See `Training.begin`; it sets the ranges too."""
        ranges = observe(self._module, map(self._input, self._pixels[:: -(-len(self._pixels) // _OBSERVED)]))
        self._quantized, self._optimizer = FakeQuantized(self._module, ranges), self._new_optimizer()
        self._labels, self._said = torch.from_numpy(np.concatenate(self._targets)), torch.cat(self._teacher)
        return 0 if state is None else self._resume(state, epochs)

    def train(self, epoch: int, batch: int) -> None:
        """See `Training.train`."""
        order = torch.randperm(len(self._pixels), generator=torch.Generator().manual_seed(epoch))
        chosen = order[batch * BATCH : (batch + 1) * BATCH]
        # exported with a batch of one
        scores = torch.cat([_scores(self._quantized.run(self._input(self._pixels[i]))) for i in chosen])
        loss = functional.cross_entropy(scores, self._labels[chosen]) + functional.kl_div(
            scores.log_softmax(1), self._said[chosen].log_softmax(1), reduction="batchmean", log_target=True
        )
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def state(self, epochs: int) -> bytes:
        """See `Training.state`."""
        kept = io.BytesIO()
        weights, optimizer = self._module.state_dict(), self._optimizer.state_dict()
        torch.save({"epoch": epochs, "weights": weights, "optimiser": optimizer}, kept)
        return kept.getvalue()

    def tuned(self) -> TorchSource:
        """See `Training.tuned`."""
        for parameter in self._module.parameters():
            parameter.requires_grad_(False)
        return replace(self._source, kind="torch.export", module=self._module)

    def _input(self, image: NDArray[np.uint8]) -> torch.Tensor:
        x = torch.from_numpy(self._normalization.apply(image[None]))
        return x if self._source.channels_last else x.permute(0, 3, 1, 2).contiguous()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([p.requires_grad_() for p in self._module.parameters()], lr=_RATE)

    def _resume(self, state: bytes, epochs: int) -> int:
        before = {name: tensor.clone() for name, tensor in self._module.state_dict().items()}
        try:
            found = torch.load(io.BytesIO(state), weights_only=True)
            done = int(found["epoch"])
            if not 0 < done <= epochs:
                return 0
            self._module.load_state_dict(found["weights"])
            self._optimizer.load_state_dict(found["optimiser"])
        except Exception:
            self._module.load_state_dict(before)  # half of it may have been taken
            self._optimizer = self._new_optimizer()
            return 0
        return done


class FakeQuantized(Interpreter):
    """Runs an exported module with weights and activations rounded as int8 rounds them."""

    def __init__(self, module: GraphModule, ranges: Ranges) -> None:
        super().__init__(module)
        self._ranges = ranges

    def run_node(self, n: Node) -> Any:
        """One operator; see the module's docstring."""
        name = str(n.target)
        if n.op != "call_function" or not name.startswith(_ROUNDED):
            return super().run_node(n)
        if name.startswith(_WEIGHTED):
            assert not isinstance(n.target, str)  # the operator itself: only methods and modules go by a name
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            value = n.target(args[0], _rounded_filters(args[1]), *args[2:], **kwargs)
        else:
            value = super().run_node(n)
        return _rounded(value, *self._ranges[n.name]) if n.name in self._ranges else value


class _Observer(Interpreter):
    """Notes the smallest and largest value of every operator's output."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.ranges: Ranges = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.op == "call_function" and isinstance(value, torch.Tensor) and value.is_floating_point():
            low, high = self.ranges.get(n.name, (0.0, 0.0))
            self.ranges[n.name] = (min(low, float(value.min())), max(high, float(value.max())))
        return value


def observe(module: GraphModule, images: Iterable[torch.Tensor]) -> Ranges:
    """The smallest and largest value of every operator's output over images, each as the module takes it."""
    observer = _Observer(module)
    with torch.no_grad():
        for image in images:
            observer.run(image)
    return observer.ranges


def _rounded(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
    scale = max((high - low) / 255, 1e-12)
    return torch.fake_quantize_per_tensor_affine(value, scale, round(-low / scale), 0, 255)


def _rounded_filters(weights: torch.Tensor) -> torch.Tensor:
    scales = weights.detach().abs().flatten(1).amax(1).clamp(min=1e-12) / 127
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -127, 127)


def _scores(outputs: Any) -> torch.Tensor:
    while isinstance(outputs, (tuple, list)):
        (outputs,) = outputs
    assert isinstance(outputs, torch.Tensor)
    return outputs.flatten(1)
