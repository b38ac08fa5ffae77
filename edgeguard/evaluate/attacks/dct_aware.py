"""PGD that moves whole DCT coefficients: what a quantiser cannot round away."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.attacks.gradient import Pgd
from edgeguard.evaluate.surrogates import dct_matrix, from_blocks, to_blocks


@dataclass(frozen=True)
class DctPgd(Pgd):
    """PGD whose step puts all of a block's budget into the `bands` largest coefficients of its gradient.

    A sign step spreads over all 64 coefficients and stays below half a quantisation step in each; the guard rounds it
    away and straight-through gradients then look robust (gradient masking). Concentrated on few coefficients the same
    budget crosses the threshold.
    """

    bands: int = 3

    @property
    def name(self) -> str:
        """For tables."""
        return f"dct-{self.bands} pgd-{self.steps} eps {self.eps_8bit:g}"

    def _direction(self, gradient: Tensor) -> Tensor:
        height, width = gradient.shape[2:]
        dct = dct_matrix()
        blocks = to_blocks(F.pad(gradient, (0, -width % 8, 0, -height % 8)))
        coefficients = (dct @ blocks @ dct.T).flatten(-2)
        largest = coefficients.abs().topk(self.bands, dim=-1).indices
        kept = torch.zeros_like(coefficients).scatter(-1, largest, 1.0) * coefficients.sign()
        moved = dct.T @ kept.unflatten(-1, (8, 8)) @ dct
        moved = moved / moved.abs().amax((-2, -1), keepdim=True).clamp_min(1e-9)
        return from_blocks(moved)[:, :, :height, :width]
