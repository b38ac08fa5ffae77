"""The guard as a layer: the device's bytes forward, a derivative backward."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.differentiable.surrogates import Backward, bpda, surrogate_codec
from edgeguard.preprocess.crop_resize import sanitize


def to_frames(levels: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) float levels to (n, h, w, 3) uint8, rounded and clipped as a file or a sensor would."""
    rounded = levels.detach().round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


def to_levels(frames: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 levels, in channels-last memory."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()


class GuardLayer(torch.nn.Module):
    """The sanitiser as a layer: the device's bytes forward; backward as `surrogates` has it.

    `which` pass it is matters where the profile has room: an attacker in transit sees `second`.
    """

    def __init__(self, profile: GuardProfile, backward: Backward = "straight-through", which: Pass = "only") -> None:
        super().__init__()
        self.profile, self.backward, self.which = profile, backward, which

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels to sanitised levels."""
        exact = to_levels(np.stack([sanitize(frame, self.profile, self.which) for frame in to_frames(levels)])).to(
            levels.device
        )
        if not (torch.is_grad_enabled() and levels.requires_grad):
            return exact
        return bpda(exact, surrogate_codec(levels, self.profile, self.backward, self.which))
