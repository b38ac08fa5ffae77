"""Changes of whole levels that move a guard's indices: what can be done to each unit of blocks, and what it gains.

After pass 1 every coefficient and its residual are known. Index k of a unit moves by one when its coefficient moves by
QS_k / 2 - s r_k in the direction s, and changes within the budget move it by at most `reach`: A_k eps, less where
levels touch 0 or 255. Budget is spent only where that is enough. For each unit some changes are built (the largest
feasible flips, alone and in the cheapest sets; the sign of the gradient, of all of it and of its largest bands), the
indices of each are computed, and the one with the largest sum of gradient times change of index is kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.block_lattice import BlockLattice

_TIE = 1e-3  # sums of floats: a flip that needs exactly what can be reached is tried
_LEAST = 1 / 32  # the kernel's unit: so much more is needed where a tie stays (half-way values go away from zero)
_SET_SIZES = (2, 3, 4, 6, 8, 12, 16)
_SINGLES = 4
_BANDS = (2, 4, 8)
_SOLVER_STEPS = 24
_ROUNDING = 0.75  # coefficients by which whole levels may miss what the solver asked for


@dataclass(frozen=True)
class UnitMoves:
    """The best change of each unit of one choice of units: levels (m, P), indices moved (m, K), gain (m,)."""

    change: Tensor
    moved: Tensor
    gain: Tensor


class LatticeBudget:
    """What +-eps levels can do to the units of images, and the changes that do it.

    Args:
        profile: of the guard that comes after the change.
        images: float32 (n, 3, h, w), whole levels: what the attacker finds.
        eps_8bit: whole levels.
        room: that the guard leaves before its transform (see `GuardedVictim`).

    Attributes:
        lattice: how the images are cut into units; all tensors below have all images' units one after the other.
        feasible: bool (2, units, K): index k can be moved by one upward (0) or downward (1).
        most_flips: int64 (units,): no change within the budget moves more indices at once (see `_most_flips`).

    Example:
        >>> budget = LatticeBudget(GuardProfile.preset("fd"), torch.full((1, 3, 8, 8), 120.0), 1)
        >>> bool(budget.feasible.any())
        False
    """

    def __init__(self, profile: GuardProfile, images: Tensor, eps_8bit: int, room: int = 0) -> None:
        height, width = images.shape[2:]
        self.lattice = BlockLattice(profile, height, width, room)
        self.images = len(images)
        base = self.lattice.split(images, replicate=True).flatten(0, 1)
        free = self.lattice.split(torch.ones_like(images)).flatten(0, 1)
        self.base = base
        self.low = torch.maximum(-base, torch.tensor(-float(eps_8bit))) * free
        self.high = torch.minimum(255 - base, torch.tensor(float(eps_8bit))) * free
        self.steps = self.lattice.steps.repeat(len(images), 1)
        self.indices, self.residual = self.lattice.residuals(base, self.steps)
        positive, negative = self.lattice.basis.clamp_min(0), self.lattice.basis.clamp_max(0)
        up = self.high @ positive.T + self.low @ negative.T
        down = self.low @ positive.T + self.high @ negative.T
        self.reach = torch.stack([up, -down])
        self.cost = torch.stack(
            [
                self.steps / 2 - self.residual + _LEAST * (self.indices < 0),
                self.steps / 2 + self.residual + _LEAST * (self.indices > 0),
            ]
        )
        self.feasible = self.cost <= self.reach + _TIE
        self.most_flips = self._most_flips()

    def _most_flips(self) -> Tensor:
        """The squares of the moves of all coefficients add up to at most those of the levels (Bessel's inequality).

        So at most as many indices move as the smallest costs fit into that sum.
        """
        cheapest = self.cost.masked_fill(~self.feasible, torch.inf).amin(0)
        cheapest = cheapest / torch.linalg.matrix_norm(self.lattice.basis, 2)  # 1 but for mixed channels
        sums = (cheapest.clamp_min(0) ** 2).sort(1).values.cumsum(1)
        room = (torch.maximum(self.high, -self.low) ** 2).sum(1, keepdim=True)
        return (sums <= room + _TIE).sum(1)

    def best(self, gradient: Tensor, chosen: Tensor, *, sets: bool = True) -> UnitMoves:
        """The change of each chosen unit that gains most.

        Args:
            gradient: float32 (units of all images, K): how the loss changes with each index.
            chosen: int64 (m,), units.
            sets: try sets of several flips too.
        """
        slope = gradient[chosen]
        change = torch.zeros_like(self.base[chosen])
        for rows, several in ((self.most_flips[chosen] < 2, False), (self.most_flips[chosen] >= 2, True)):
            here = rows.nonzero()[:, 0]
            if len(here):
                change[here] = self._best_of(slope[here], chosen[here], several=several, sets=sets)
        moved = self.moved(change, chosen)
        return UnitMoves(change, moved, (moved * slope).sum(1))

    def _best_of(self, slope: Tensor, chosen: Tensor, *, several: bool, sets: bool) -> Tensor:
        """The best change of each unit, (m, P), as real arithmetic ranks them."""
        down = (slope < 0).long()
        cost, reach = _pick(self.cost, chosen, down), _pick(self.reach, chosen, down)
        value = slope.abs() * (cost <= reach + _TIE)
        largest = value.topk(max(_BANDS), dim=1).indices
        tried = [self._toward(_only(slope, largest[:, n : n + 1]), chosen) for n in range(_SINGLES if several else 2)]
        if several:
            tried.append(self._toward(slope / self.steps[chosen], chosen))
            tried += [self._toward(_only(slope / self.steps[chosen], largest[:, :n]), chosen) for n in _BANDS]
        if several and sets:
            density = value / (cost.clamp_min(0.5) ** 2)
            order = density.topk(max(_SET_SIZES), dim=1).indices
            for size in _SET_SIZES:
                rows = (self.most_flips[chosen] >= size).nonzero()[:, 0]
                if not len(rows):
                    break
                change = torch.zeros_like(tried[0])
                change[rows] = self._together(slope[rows].sign(), cost[rows], order[rows, :size], chosen[rows])
                tried.append(change)
        changes = torch.stack(tried)
        position = self.residual[chosen] + changes @ self.lattice.basis.T
        position += _TIE * (self.indices[chosen] * self.steps[chosen] + position).sign()
        best = ((position / self.steps[chosen]).round() * slope).sum(2).argmax(0)
        return changes[best, torch.arange(len(chosen))]

    def moved(self, change: Tensor, chosen: Tensor) -> Tensor:
        """How far a change (m, P) moves the indices of the chosen units, (m, K): exact."""
        return self.lattice.indices(self.base[chosen] + change, self.steps[chosen]) - self.indices[chosen]

    def _toward(self, weights: Tensor, chosen: Tensor) -> Tensor:
        """All of the budget in the direction of some coefficients: weights (m, K) to changes (m, P)."""
        direction = weights @ self.lattice.basis
        return torch.where(direction > 0, self.high[chosen], torch.where(direction < 0, self.low[chosen], 0.0))

    def _together(self, sign: Tensor, cost: Tensor, flips: Tensor, chosen: Tensor) -> Tensor:
        """The smallest change that makes several flips at once, by multipliers (dual ascent), rounded to levels.

        Args:
            sign, cost: (m, K), of each flip.
            flips: int64 (m, size), which are wanted.
        """
        low, high = self.low[chosen], self.high[chosen]
        wanted = torch.zeros_like(cost).scatter_(1, flips, 1.0)
        target = (cost + _ROUNDING) * wanted
        toward = sign * wanted
        scale = (self.lattice.basis**2).sum(1)  # 1 but for the mixed channels of gray and YCbCr
        multipliers = target / scale
        change = torch.zeros_like(low)
        for _ in range(_SOLVER_STEPS):
            change = torch.minimum(torch.maximum((multipliers * toward) @ self.lattice.basis, low), high)
            missing = target - toward * (change @ self.lattice.basis.T)
            multipliers = (multipliers + 1.5 * missing * wanted / scale).clamp_min_(0)
        return change.round()


def _pick(both: Tensor, chosen: Tensor, down: Tensor) -> Tensor:
    """(2, units, K) to (m, K), by direction."""
    return torch.where(down > 0, both[1, chosen], both[0, chosen])


def _only(values: Tensor, kept: Tensor) -> Tensor:
    """Values (m, K) at the kept places (m, n), else 0."""
    return torch.zeros_like(values).scatter(1, kept, values.gather(1, kept))
