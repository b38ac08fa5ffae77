"""What stands between sanitised levels and the graph: crop and resize; the device's bytes, with a derivative."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import bpda
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.area_resize import area_weights
from edgeguard.preprocess.geometry import LETTERBOX_LEVEL, place


class CropResize(torch.nn.Module):
    """The contract's crop and area resize: the device's bytes forward, the linear area weights backward."""

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self.contract = contract
        self._path = InputPath(contract, profile=None, patch_guard=None)

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, H, W) levels of frames to (n, 3, h, w) levels of the model's input."""
        exact = to_levels(np.stack([self._path.levels(self._path.arrive(frame))[0] for frame in to_frames(levels)]))
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
