"""The lattice attack: it knows the guard's indices and residuals, and moves whole indices instead of pixels."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.lattice_step import LatticeBudget
from edgeguard.evaluate.attacks.attack import Victim
from edgeguard.evaluate.attacks.gradient import Pgd


@runtime_checkable
class GuardedVictim(Protocol):
    """A victim whose guard can be told from what stands behind it."""

    @property
    def profile(self) -> GuardProfile | None:
        """Of the guard that sees the attacked levels first, or None where none does, or another kind of defense."""
        ...

    def through_guard(self, levels: Tensor) -> Tensor:
        """The guard's own bytes, float32 (n, 3, h, w) to the same shape; no derivative."""
        ...

    def behind_guard(self, levels: Tensor) -> Tensor:
        """From the guard's output to logits (n, classes), with a derivative."""
        ...


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Block-coordinate ascent over whole-level changes of 8x8 blocks, each judged by the indices that it moves.

    Each turn takes one gradient at the guard's output, with momentum over turns, and expresses it by indices. The
    share of units that gain most by a better change is moved; the share falls from `share` to a twentieth of it.
    Cross-entropy and the margin to the best wrong class (from the second restart on to one fixed class each) take
    turns. Where no guard of blocks stands in front, it is PGD.

    Attributes:
        eps_8bit: budget in levels.
        steps: gradients of each restart.
        restarts: the first from the image itself, the others from random moves.
        share: of the units that may move, at the first turn, 0..1.
        momentum: of the gradient, 0..1.
        patience: turns without a smaller margin after which a restart ends.

    Example:
        >>> Lattice(eps_8bit=2).name
        'lattice-60 eps 2'
    """

    gradient_free = False

    eps_8bit: float
    steps: int = 60
    restarts: int = 3
    share: float = 0.3
    momentum: float = 0.75
    patience: int = 15

    @property
    def name(self) -> str:
        """For tables."""
        return f"lattice-{self.steps} eps {self.eps_8bit:g}"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        if not isinstance(victim, GuardedVictim) or victim.profile is None:
            plain = Pgd(eps_8bit=self.eps_8bit, steps=self.steps, restarts=self.restarts, early_stop=True)
            return plain(victim, images, labels, seed)
        found = images.clone()
        for i in range(len(images)):
            one = slice(i, i + 1)
            found[one] = self._attacked(victim, victim.profile, images[one], labels[one], seed)
        return found

    def _attacked(
        self, victim: GuardedVictim, profile: GuardProfile, image: Tensor, labels: Tensor, seed: int
    ) -> Tensor:
        budget = LatticeBudget(profile, image, int(self.eps_8bit + 1e-6))
        if not budget.feasible.any():
            return image
        generator = torch.Generator().manual_seed(seed)
        ranked = torch.zeros(0)
        best, smallest = image, torch.inf
        for restart in range(self.restarts):
            run = _Run(budget, generator, randomly=restart > 0)
            lowest, since = torch.inf, 0
            for turn in range(self.steps):
                received = run.levels()
                shown = victim.through_guard(received).requires_grad_(True)
                logits = victim.behind_guard(shown)
                margin = _margins(logits.detach(), labels)
                if float(margin) < smallest:
                    best, smallest = received, float(margin)
                if smallest < 0:
                    return best
                lowest, since = (float(margin), 0) if float(margin) < lowest else (lowest, since + 1)
                if since > self.patience:
                    break
                if not len(ranked):
                    ranked = logits.detach().scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)[0]
                wrong = ranked[min(restart, len(ranked) - 2)] if restart else None
                loss = F.cross_entropy(logits, labels) if turn % 2 == 0 else _loss(logits, labels, wrong)
                run.step(torch.autograd.grad(loss, shown)[0], self._share(turn), self.momentum)
        return best

    def _share(self, turn: int) -> float:
        return self.share * max(1 - turn / self.steps, 0.05)


def _loss(logits: Tensor, labels: Tensor, wrong: Tensor | None) -> Tensor:
    if wrong is None:
        return -_margins(logits, labels).sum()
    return (logits[:, wrong] - logits.gather(1, labels[:, None])[:, 0]).sum()


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Right class less the best other one: below 0 the victim errs."""
    right = logits.gather(1, labels[:, None])[:, 0]
    return right - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


class _Run:
    """One restart on one image: what each unit is changed by, and the averaged gradient."""

    def __init__(self, budget: LatticeBudget, generator: torch.Generator, *, randomly: bool) -> None:
        self.budget = budget
        self.change = torch.zeros_like(budget.base)
        self.moved = torch.zeros_like(budget.indices)
        self.gradient: Tensor | None = None
        self.may_move = budget.feasible.any(0).any(1)
        if randomly:
            chosen = self.may_move.nonzero()[:, 0]
            chosen = chosen[torch.rand(len(chosen), generator=generator) < 0.5]
            slope = torch.randn(budget.indices.shape, generator=generator)
            self._take(chosen, slope, sets=False)

    def levels(self) -> Tensor:
        """float32 (1, 3, h, w): the image as it is changed now."""
        return self.budget.lattice.join((self.budget.base + self.change).unflatten(0, (self.budget.images, -1)))

    def step(self, gradient: Tensor, share: float, momentum: float) -> None:
        """Move the units that gain most by the gradient at the guard's output."""
        slope = self.budget.lattice.index_gradient(gradient).flatten(0, 1)
        slope = slope / slope.abs().mean().clamp_min(1e-30)
        self.gradient = slope if self.gradient is None else momentum * self.gradient + slope
        self._take(self._promising(self.gradient, share), self.gradient, sets=True)

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
