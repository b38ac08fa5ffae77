"""Moves on a guard's lattice, one turn after the other: the units that gain most by the gradient are moved."""

from copy import copy

import torch
from torch import Tensor

from edgeguard.differentiable.lattice_step import LatticeBudget


class LatticeRun:
    """What each unit of some images is changed by now, and the gradient, averaged over turns.

    Args:
        budget: what can be done to the images.
        generator: of the moves that it begins with.
        randomly: begin with half of the units moved; else with the images themselves.

    Example:
        >>> from edgeguard.dct.profile import GuardProfile
        >>> budget = LatticeBudget(GuardProfile.preset("fd"), torch.full((1, 3, 8, 8), 120.0), 2)
        >>> run = LatticeRun(budget, torch.Generator(), randomly=False)
        >>> run.step(torch.ones(1, 3, 8, 8), share=1.0, momentum=0.0)
        >>> run.levels().unique()
        tensor([120., 122.])
    """

    def __init__(self, budget: LatticeBudget, generator: torch.Generator, *, randomly: bool) -> None:
        self.budget, self.generator = budget, generator
        self.change = torch.zeros_like(budget.base)
        self.moved = torch.zeros_like(budget.indices)
        self.gradient: Tensor | None = None
        self.may_move = budget.feasible.any(0).any(1)
        if randomly:
            self.kick(0.5)

    def kicked(self, share: float) -> "LatticeRun":
        """A run that goes on from here with a share (0..1) of its units moved at random, and no memory of gradients."""
        other = copy(self)
        other.change, other.moved, other.gradient = self.change.clone(), self.moved.clone(), None
        other.kick(share)
        return other

    def kick(self, share: float) -> None:
        """Move a share of the units that can move, each toward what a random gradient wants."""
        chosen = self.may_move.nonzero()[:, 0]
        chosen = chosen[torch.rand(len(chosen), generator=self.generator) < share]
        slope = torch.randn(self.moved.shape, generator=self.generator)
        if len(chosen):
            best = self.budget.best(slope, chosen, sets=False)
            self.change[chosen], self.moved[chosen] = best.change, best.moved

    def levels(self) -> Tensor:
        """float32 (n, 3, h, w): the images as they are changed now."""
        return self.budget.lattice.join((self.budget.base + self.change).unflatten(0, (self.budget.images, -1)))

    def step(self, gradient: Tensor, *, share: float, momentum: float, sets: bool = True) -> None:
        """Move the units that gain most by a better change.

        Args:
            gradient: of the loss, at the guard's output, float32 (n, 3, h, w).
            share: of the units of all images that may move, 0..1.
            momentum: weight of the gradients before, 0..1.
            sets: try sets of several flips too; slower.
        """
        slope = self.budget.lattice.index_gradient(gradient).flatten(0, 1)
        slope = slope / slope.abs().mean().clamp_min(1e-30)
        self.gradient = slope if self.gradient is None else momentum * self.gradient + slope
        self._take(self._promising(self.gradient, share), self.gradient, sets=sets)

    def _promising(self, slope: Tensor, share: float) -> Tensor:
        """Units with the largest bound on what a better change could gain."""
        feasible = torch.where(slope < 0, self.budget.feasible[1], self.budget.feasible[0])
        possible = (slope.abs() * feasible).amax(1) - (self.moved * slope).sum(1)
        count = max(int(share * int(self.may_move.sum())), 1)
        best = possible.masked_fill(~self.may_move, -torch.inf).topk(min(count, len(possible)))
        return best.indices[best.values > 0]

    def _take(self, chosen: Tensor, slope: Tensor, *, sets: bool) -> None:
        if not len(chosen):
            return
        best = self.budget.best(slope, chosen, sets=sets)
        better = best.gain > (self.moved[chosen] * slope[chosen]).sum(1)
        rows = chosen[better]
        self.change[rows], self.moved[rows] = best.change[better], best.moved[better]
