"""Patch guards in front of a twin, for patches that are made through them (torch)."""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import bpda
from edgeguard.patchguard import PatchGuard
from edgeguard.patchguard.gradient_smoothing import LocalGradientSmoothing


class PatchGuardLayer(torch.nn.Module):
    """A patch guard's own result forward; backward its derivative where it has one (LGS), else the identity (BPDA)."""

    def __init__(self, guard: PatchGuard) -> None:
        super().__init__()
        self.guard = guard

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, h, w) levels of the model's input."""
        exact = to_levels(np.stack([self.guard(frame).image for frame in to_frames(levels)]))
        if not (torch.is_grad_enabled() and levels.requires_grad):
            return exact
        if self.guard.name == "lgs":
            return bpda(exact, _smoothed(levels, cast(LocalGradientSmoothing, self.guard)))
        return bpda(exact, levels)


def _smoothed(levels: Tensor, guard: LocalGradientSmoothing) -> Tensor:
    """LGS in torch: the threshold of the windows has no derivative, everything else has."""
    gray = (levels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    across = F.pad(gray, (0, 1, 0, 0), mode="replicate")[:, :, :, 1:] - gray
    down = F.pad(gray, (0, 0, 0, 1), mode="replicate")[:, :, 1:, :] - gray
    gradient = (across.square() + down.square() + 1e-6).sqrt()
    low, high = gradient.amin((2, 3), keepdim=True).detach(), gradient.amax((2, 3), keepdim=True).detach()
    gradient = (gradient - low) / (high - low).clamp_min(1e-6)
    suspect = torch.from_numpy(np.stack([guard(frame).suspect for frame in to_frames(levels)]))[:, None]
    factor = torch.where(suspect, (1 - guard.smoothing * gradient).clamp(0, 1), torch.ones(()))
    return levels * factor
