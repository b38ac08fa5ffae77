"""A trained torch module: running it, and lowering it to a float .tflite whose input is NHWC."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.audio.spec import audio_input
from edgeguard.errors import InputError
from edgeguard.model.contract import InputSpec
from edgeguard_converters.graph.cleanup import clean
from edgeguard_converters.graph.float_graph import FloatGraph, float_graph
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.load.source import FileFacts, Source
from edgeguard_converters.load.split_boxes import BOX_NUMBERS, joined_axis, with_separate_boxes
from edgeguard_converters.support.log import chatter_to

_BATCH = 2  # small: activations are most of the memory


def color_of(module: torch.nn.Module, facts: FileFacts) -> FileFacts:
    """Facts that say GRAY where the module's first convolution takes one channel."""
    first = next((m for m in module.modules() if isinstance(m, torch.nn.Conv2d)), None)
    if facts.color == "RGB" and first is not None and first.in_channels == 1:
        return replace(facts, color="GRAY")
    return facts


class ImageModel(torch.nn.Module):
    """The trained module behind an NHWC input of normalized values, or of pixels 0..255 (`normalizes`).

    The normalization is a depthwise 1x1 convolution: one operator that every accelerator knows, whose int8 form holds
    each channel's own scale; where the first convolution pads nothing, `graph.cleanup` folds it into that one.
    """

    # The exporter writes this path into the tensors' names: the same models give the same bytes wherever the class is
    __module__ = "edgeguard_converters.torch_source"

    def __init__(self, module: torch.nn.Module, channels_last: bool, normalization: Normalization) -> None:
        super().__init__()
        self.module = module
        self.channels_last = channels_last
        # this name becomes part of the tensors' names, and so of the file
        self.normalizes = None if normalization.is_uniform else _depthwise(normalization)

    def forward(self, x: torch.Tensor) -> Any:
        """(n, h, w, channels) to the module's outputs."""
        nchw = x.permute(0, 3, 1, 2)
        if self.normalizes is not None:
            nchw = self.normalizes(nchw)
        return _flat(self.module(nchw.permute(0, 2, 3, 1) if self.channels_last else nchw))


@dataclass(frozen=True)
class TorchSource(Source):
    """A torch module in evaluation mode; `channels_last`: its input is NHWC."""

    module: torch.nn.Module
    channels_last: bool = False

    def __post_init__(self) -> None:
        """A module whose first convolution takes one channel reads gray pictures, whatever it was loaded from."""
        object.__setattr__(self, "facts", color_of(self.module, self.facts))

    def outputs(self, normalized: NDArray[np.float32]) -> Outputs:
        """See `Source.outputs`."""
        x = torch.from_numpy(normalized)
        x = x if self.channels_last else x.permute(0, 3, 1, 2).contiguous()
        try:
            with torch.inference_mode():
                batches = [_run_batch(self.module, x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"the model fails on {x.shape[-1]}-pixel images: {_first_line(error)}") from error
        outputs = [torch.cat(parts) for parts in zip(*batches, strict=True)]
        axis = joined_axis(outputs)
        if axis is not None:
            outputs = list(torch.tensor_split(outputs[0], [BOX_NUMBERS], dim=axis))
        return tuple(values.numpy().astype(np.float32) for values in outputs)

    def joins_boxes(self, normalized: NDArray[np.float32]) -> bool:
        """See `Source.joins_boxes`."""
        x = torch.from_numpy(normalized[:1])
        with torch.inference_mode():
            return joined_axis(self.module(x if self.channels_last else x.permute(0, 3, 1, 2))) is not None

    def not_finite(self) -> str | None:
        """See `Source.not_finite`."""
        tensors = self.module.state_dict().items()
        return next((name for name, t in tensors if t.is_floating_point() and not torch.isfinite(t).all()), None)

    def _input_spec(self, size: tuple[int, int]) -> InputSpec:
        if self.facts.audio is None:
            return InputSpec(*size, color=self.facts.color)
        return InputSpec(*size, kind="audio", planes=audio_input(self.facts.audio).shape[2])

    def parameter_count(self) -> int:
        """See `Source.parameter_count`."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def get_ready(self) -> None:
        """See `Source.get_ready`: litert-torch takes seconds to import. Where it fails, `export` says why."""
        with suppress(Exception):
            import litert_torch  # noqa: F401

    def export(self, normalization: Normalization, size: tuple[int, int], folder: Path, log: Path) -> FloatGraph:
        """See `Source.export`; litert-torch does the lowering."""
        example = torch.zeros(1, *self._input_spec(size).shape)
        try:
            module = with_separate_boxes(self.module, example if self.channels_last else example.permute(0, 3, 1, 2))
        except Exception as error:
            raise InputError(f"torch cannot export this model: {_blame(error)}") from error
        model = ImageModel(module, self.channels_last, normalization)
        model.training = False  # not eval(): an exported program inside refuses it, and is in that mode already
        path = folder / "float.tflite"
        try:
            with chatter_to(log):
                import litert_torch

                litert_torch.convert(model, (example,)).export(str(path))
        except Exception as error:
            raise InputError(f"litert-torch cannot convert this graph: {_blame(error)} (log: {log})") from error
        path.write_bytes(clean(TfliteGraph(path.read_bytes())).data)
        return float_graph(path, normalization)


def _depthwise(normalization: Normalization) -> torch.nn.Conv2d:
    convolution = torch.nn.Conv2d(3, 3, 1, groups=3)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalization.mean, normalization.std))
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.copy_((1 / std).view(3, 1, 1, 1))
        convolution.bias.copy_(-mean / std)
    return convolution


def _run_batch(module: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    try:
        return _tensors(module(batch))
    except Exception:
        if len(batch) == 1:
            raise
        single = [_tensors(module(image[None])) for image in batch]  # exported with batch 1
        return tuple(torch.cat(parts) for parts in zip(*single, strict=True))


def _flat(outputs: Any) -> Any:
    """Dictionaries become tuples, tuples of one their element."""
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    return outputs[0] if isinstance(outputs, (tuple, list)) and len(outputs) == 1 else outputs


def _tensors(outputs: Any) -> tuple[torch.Tensor, ...]:
    outputs = _flat(outputs)
    found = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    for tensor in found:
        if not isinstance(tensor, torch.Tensor):
            raise InputError(f"the model returns a {type(tensor).__name__}, not tensors")
    return found


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300]


def _blame(error: Exception) -> str:
    """The first line of an exporter's complaint, with the operator and the line of the user's code that it names."""
    text = str(error)
    reason = _first_line(error)
    operator = re.search(r"(?:aten|torchvision|prims)[.:]+\w+(?:\.\w+)?", text)
    if operator and operator.group(0) not in reason:
        reason += f"; operator {operator.group(0)}"
    places = [p for p in re.findall(r'File "([^"]+)", line (\d+)', text) if "site-packages" not in p[0]]
    if places:
        reason += f"; at {Path(places[-1][0]).name}:{places[-1][1]}"
    return reason
