"""PGD that moves whole DCT coefficients: what a quantiser cannot round away."""

from dataclasses import dataclass

from torch import Tensor

from edgeguard.differentiable.dct_step import dct_direction
from edgeguard.evaluate.attacks.gradient import Pgd


@dataclass(frozen=True, kw_only=True)
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
        return dct_direction(gradient, self.bands)
