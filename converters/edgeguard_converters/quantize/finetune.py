"""Quantization-aware finishing: a short training with fake quantization, for models that int8 hurts too much.

Every convolution and matrix product sees weights rounded to int8 (a scale for each filter) and gives activations
rounded to 8 bits (one range for each tensor), while gradients pass as if nothing had been rounded (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3). Batch
normalization keeps its statistics. The loss is the labels' cross-entropy plus the divergence from what the float model
said.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional

from edgeguard.datasets.images import LabeledImage, prepare
from edgeguard.errors import InputError
from edgeguard.system.files import replaced
from edgeguard_converters.contract.image_sets import behind_the_guard
from edgeguard_converters.contract.infer import InferredContract
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.load.source import Source
from edgeguard_converters.load.split_boxes import exported
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.support.cache import cache_file

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
_BATCH, _RATE = 16, 2e-4
_OBSERVED = 128  # images whose activations set the ranges
Ranges = dict[str, tuple[float, float]]


def finetune_classifier(
    source: Source,
    inferred: InferredContract,
    training: list[LabeledImage],
    *,
    epochs: int,
    step: Callable[[str], None],
) -> tuple[TorchSource, Path]:
    """Fine-tune a classifier of pixels on labelled images, prepared as its contract says; see `finetune`.

    Args:
        source: the model, in this process.
        inferred: its contract and its normalization.
        training: images with class indices.
        epochs: how often each image is seen.
        step: called with a line at the start of each epoch.

    Raises:
        InputError: no torch classifier of pixels, images without labels, or the module cannot be exported for training.
    """
    contract = inferred.contract
    if not isinstance(source, TorchSource) or contract.task != "classify" or contract.input.color != "RGB":
        raise InputError("--finetune trains torch classifiers of pixels: for other models fine-tune before converting")
    labels = [image.label for image in training]
    if any(label is None for label in labels):
        raise InputError("--finetune needs labelled images: class folders, or labels.csv")
    return finetune(
        source,
        inferred.normalization,
        prepare(training, behind_the_guard(contract)),
        targets=np.array(labels, np.int64) + int(contract.background),
        epochs=epochs,
        size=(contract.input.width, contract.input.height),
        step=step,
    )


def finetune(
    source: TorchSource,
    normalization: Normalization,
    pixels: NDArray[np.uint8],
    *,
    targets: NDArray[np.int64],
    epochs: int,
    size: tuple[int, int],
    step: Callable[[str], None] = lambda name: None,
) -> tuple[TorchSource, Path]:
    """A source with weights that survive int8 better, and the file that its progress is kept in.

    The file is written after each epoch, so that an interrupted run goes on where it was; the caller removes it when
    the weights have arrived where they belong.

    Args:
        source: a classifier.
        normalization: of its input.
        pixels: sanitised training images as the model sees them, (n, h, w, 3) of uint8.
        targets: raw output index of each, (n,) of int64.
        epochs: how often each image is seen.
        size: width and height of the input.
        step: called with a line at the start of each epoch.

    Raises:
        InputError: the module cannot be exported for training.
    """
    example = torch.zeros(1, size[1], size[0], 3)
    try:
        module = exported(source.module, example if source.channels_last else example.permute(0, 3, 1, 2))
    except Exception as error:
        raise InputError(
            f"torch cannot export the model for fine-tuning: {str(error).splitlines()[0][:200]}"
        ) from error
    x = torch.from_numpy(normalization.apply(pixels))
    x = x if source.channels_last else x.permute(0, 3, 1, 2).contiguous()
    with torch.no_grad():
        teacher = torch.cat([_scores(module(image[None])) for image in x])
    ranges = _observe(module, x[:: -(-len(x) // _OBSERVED)])
    kept = checkpoint(source, pixels, targets)
    optimizer = torch.optim.Adam([p.requires_grad_() for p in module.parameters()], lr=_RATE)
    quantized = FakeQuantized(module, ranges)
    for epoch in range(_resume(kept, module, optimizer), epochs):
        step(f"fine-tuning, epoch {epoch + 1} of {epochs}")
        _one_epoch(quantized, optimizer, x, torch.from_numpy(targets), teacher=teacher, seed=epoch)
        if kept.parent.is_dir():
            with replaced(kept) as partial:
                torch.save(
                    {"epoch": epoch + 1, "weights": module.state_dict(), "optimiser": optimizer.state_dict()}, partial
                )
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return replace(source, kind="torch.export", module=module), kept


def _one_epoch(
    quantized: "FakeQuantized",
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    labels: torch.Tensor,
    *,
    teacher: torch.Tensor,
    seed: int,
) -> None:
    """Show each image once, in an order that the seed gives."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for chosen in order.split(_BATCH):
        # exported with a batch of one
        scores = torch.cat([_scores(quantized.run(x[i][None])) for i in chosen])
        loss = functional.cross_entropy(scores, labels[chosen]) + functional.kl_div(
            scores.log_softmax(1), teacher[chosen].log_softmax(1), reduction="batchmean", log_target=True
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def checkpoint(source: TorchSource, pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> Path:
    """Where the state of this fine-tuning is kept: a name made of the weights, the images and the labels."""
    total = hashlib.sha256(pixels.tobytes() + targets.tobytes())
    for name, tensor in sorted(source.module.state_dict().items()):
        total.update(name.encode() + tensor.detach().numpy().tobytes())
    return cache_file(f"finetune-{total.hexdigest()[:24]}.pt")


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


def _observe(module: GraphModule, images: torch.Tensor) -> Ranges:
    observer = _Observer(module)
    with torch.no_grad():
        for image in images:
            observer.run(image[None])
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


def _resume(path: Path, module: GraphModule, optimizer: torch.optim.Optimizer) -> int:
    """The epochs that are done already, their weights loaded; a file that does not fit counts for nothing."""
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        module.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimiser"])
        return int(state["epoch"])
    except Exception:
        return 0
