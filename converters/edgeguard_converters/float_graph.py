"""From a torch module to a float .tflite whose input is NHWC."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.loaders import Source
from edgeguard_converters.preprocessing import Normalisation
from edgeguard_converters.quiet import chatter_to

_BATCH = 4  # small: activations are most of the memory


class ImageModel(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """The trained module behind an NHWC input.

    With a uniform normalisation the input is normalised already (the quantised input's scale carries it); otherwise
    the input is pixels 0..255 and the normalisation stays in the graph.
    """

    def __init__(self, source: Source, normalisation: Normalisation) -> None:
        super().__init__()
        self.module = source.module
        self.channels_last = source.channels_last
        self.normalises = not normalisation.is_uniform
        self.register_buffer("mean", torch.tensor(normalisation.mean))
        self.register_buffer("inverse_std", 1.0 / torch.tensor(normalisation.std))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, h, w, 3) to (n, classes)."""
        if self.normalises:
            x = (x - self.mean) * self.inverse_std
        outputs = self.module(x if self.channels_last else x.permute(0, 3, 1, 2))
        return outputs[0] if isinstance(outputs, (tuple, list)) and len(outputs) == 1 else outputs


@dataclass(frozen=True)
class FloatGraph:
    """A float .tflite on disk with the domain of its input.

    `low` and `high` are what pixel 0 and pixel 255 become at the graph's input.
    """

    path: Path
    normalisation: Normalisation
    low: float
    high: float

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels to the graph's float input."""
        if self.normalisation.is_uniform:
            return self.normalisation.apply(pixels)
        return pixels.astype(np.float32)


def torch_outputs(source: Source, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the original module on normalised NHWC images; (n, classes).

    Raises:
        InputError: the module fails on images of this size, or does not return one vector of scores an image.
    """
    x = torch.from_numpy(normalised)
    x = x if source.channels_last else x.permute(0, 3, 1, 2).contiguous()
    try:
        with torch.inference_mode():
            batches: list[Any] = [_run_batch(source.module, x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
    except InputError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"the model fails on {x.shape[-1]}-pixel images: {first[:200]}") from error
    return torch.cat(batches).numpy().astype(np.float32)


def export_float(
    source: Source, normalisation: Normalisation, size: tuple[int, int], folder: Path, log: Path
) -> FloatGraph:
    """Convert to a float .tflite in `folder`.

    Raises:
        InputError: litert-torch cannot lower the graph; the message names the first line of its reason.
    """
    width, height = size
    model = ImageModel(source, normalisation)
    if source.kind in ("state_dict", "pickled"):
        model.eval()
    path = folder / "float.tflite"
    try:
        with chatter_to(log):
            import litert_torch

            litert_torch.convert(model, (torch.zeros(1, height, width, 3),)).export(str(path))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise InputError(f"litert-torch cannot convert this graph: {reason[:300]} (log: {log})") from error
    if normalisation.is_uniform:
        low, high = ((p - normalisation.mean[0]) / normalisation.std[0] for p in (0, 255))
    else:
        low, high = 0.0, 255.0
    return FloatGraph(path, normalisation, low, high)


def _run_batch(module: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    try:
        outputs = module(batch)
    except Exception:
        if len(batch) == 1:
            raise
        outputs = torch.cat([_scores(module(image[None])) for image in batch])  # exported with batch 1
    return _scores(outputs)


def _scores(outputs: Any) -> torch.Tensor:
    if isinstance(outputs, (tuple, list)) and len(outputs) == 1:
        outputs = outputs[0]
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise InputError(f"the model's output is not one vector of class scores an image, but {shape}")
    return outputs
