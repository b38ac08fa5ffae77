"""What stands between received levels and the graph: guard, crop, resize; the device's bytes, with a derivative."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.evaluate.surrogates import Backward, bpda, surrogate_codec
from edgeguard.guard.area import area_weights
from edgeguard.guard.geometry import LETTERBOX_LEVEL, place
from edgeguard.guard.prepare import crop_and_resize, sanitize
from edgeguard.guard.profile import GuardProfile
from edgeguard.model.contract import Contract


def to_frames(levels: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) float levels to (n, h, w, 3) uint8, rounded and clipped as a file or a sensor would."""
    rounded = levels.detach().round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).numpy())


def to_levels(frames: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 levels, in channels-last memory."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()


class GuardLayer(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """The sanitiser as a layer: the device's bytes forward; backward as `surrogates` has it."""

    def __init__(self, profile: GuardProfile, backward: Backward = "straight-through") -> None:
        super().__init__()
        self.profile, self.backward = profile, backward

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels to sanitised levels."""
        exact = to_levels(np.stack([sanitize(frame, self.profile) for frame in to_frames(levels)]))
        if not (torch.is_grad_enabled() and levels.requires_grad):
            return exact
        return bpda(exact, surrogate_codec(levels, self.profile, self.backward))


class CropResize(torch.nn.Module):  # type: ignore[misc]
    """The contract's crop and area resize: the device's bytes forward, the linear area weights backward."""

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self.contract = contract

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, H, W) levels of frames to (n, 3, h, w) levels of the model's input."""
        spec, preprocess = self.contract.input, self.contract.preprocess
        exact = to_levels(np.stack([crop_and_resize(frame, spec, preprocess) for frame in to_frames(levels)]))
        if not (torch.is_grad_enabled() and levels.requires_grad):
            return exact
        return bpda(exact, self._linear(levels))

    def _linear(self, levels: Tensor) -> Tensor:
        spec = self.contract.input
        placement = place(levels.shape[3], levels.shape[2], spec, self.contract.preprocess)
        source, target = placement.source, placement.target
        part = levels[:, :, source.top : source.top + source.height, source.left : source.left + source.width]
        if placement.shrinks_at(1):
            rows, columns = _area_matrix(source.height, target.height), _area_matrix(source.width, target.width)
            part = rows @ part @ columns.T
        else:
            part = F.interpolate(part, (target.height, target.width), mode="bilinear")
        right, bottom = spec.width - target.left - target.width, spec.height - target.top - target.height
        return F.pad(part, (target.left, right, target.top, bottom), value=LETTERBOX_LEVEL)


def _area_matrix(length: int, out_size: int) -> Tensor:
    first, weights = area_weights(0, length, 1, out_size)
    matrix = np.zeros((out_size, length), np.float32)
    for tap in range(weights.shape[1]):
        matrix[np.arange(out_size), np.minimum(first + tap, length - 1)] += weights[:, tap] / 2**14
    return torch.from_numpy(matrix)
