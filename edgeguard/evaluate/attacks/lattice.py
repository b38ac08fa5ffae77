"""The lattice attack: it knows the guard's indices and residuals, and moves whole indices instead of pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.differentiable.guarded_victim import GuardedVictim
from edgeguard.differentiable.lattice_run import LatticeRun
from edgeguard.differentiable.lattice_step import LatticeBudget
from edgeguard.differentiable.sign_run import SignRun
from edgeguard.evaluate.attacks.attack import Victim

_KICK = 0.05  # of the units, when a restart goes on from the best changes so far


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Block-coordinate ascent over whole-level changes of 8x8 blocks, each judged by the indices that it moves.

    Each turn takes one gradient at the guard's output, with momentum over turns, and expresses it by indices. The
    share of units that gain most by a better change is moved; the share falls to a twentieth. Cross-entropy and the
    margin to the best wrong class (after a random start to one fixed class) take turns. Where no guard of blocks stands
    in front, blocks move to the sign of the gradient instead.

    Attributes:
        eps_8bit: budget in levels.
        steps: gradients of each restart.
        restarts: the first from the image itself, then by turns from the best so far and from random moves.
        share: of the units that may move, at the first turn, 0..1.
        momentum: of the gradient, 0..1.
        patience: turns without a smaller margin after which a restart ends.

    Example:
        >>> Lattice(eps_8bit=2).name
        'lattice-100 eps 2'
    """

    gradient_free = False

    eps_8bit: float
    steps: int = 100
    restarts: int = 4
    share: float = 0.3
    momentum: float = 0.75
    patience: int = 15

    @property
    def name(self) -> str:
        """For tables."""
        return f"lattice-{self.steps} eps {self.eps_8bit:g}"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        found = images.clone()
        for i in range(len(images)):
            one = slice(i, i + 1)
            found[one] = self._attacked(victim, images[one], labels[one], seed)
        return found

    def _attacked(self, victim: Victim, image: Tensor, labels: Tensor, seed: int) -> Tensor:
        generator, eps = torch.Generator().manual_seed(seed), int(self.eps_8bit + 1e-6)
        started: Callable[[bool], LatticeRun | SignRun]
        if isinstance(victim, GuardedVictim) and victim.profile is not None:
            budget = LatticeBudget(victim.profile, image, eps, victim.room)
            if not budget.feasible.any():
                return image
            before, behind = victim.through_guard, victim.behind_guard
            started = lambda randomly: LatticeRun(budget, generator, randomly=randomly)  # noqa: E731
        else:
            before, behind = torch.clone, victim
            started = lambda randomly: SignRun(image, eps, generator, randomly=randomly)  # noqa: E731
        best: LatticeRun | SignRun | None = None
        smallest, ranked = torch.inf, torch.zeros(0)
        for restart in range(self.restarts):
            goes_on = restart % 2 == 1 and best is not None
            run = best.kicked(_KICK) if goes_on and best else started(restart > 0)
            first_share = self.share / 2 if goes_on else self.share
            lowest, since = torch.inf, 0
            for turn in range(self.steps):
                shown = before(run.levels()).requires_grad_(True)
                logits = behind(shown)
                margin = float(_margins(logits.detach(), labels))
                if margin < smallest:
                    best, smallest = run.kicked(0.0), margin
                if smallest < 0:
                    return run.levels()
                lowest, since = (margin, 0) if margin < lowest else (lowest, since + 1)
                if since > self.patience:
                    break
                if not len(ranked):
                    ranked = logits.detach().scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)[0]
                wrong = ranked[min(restart, len(ranked) - 2)] if restart and not goes_on else None
                loss = F.cross_entropy(logits, labels) if turn % 2 == 0 else _loss(logits, labels, wrong)
                gradient = torch.autograd.grad(loss, shown)[0]
                run.step(gradient, share=first_share * max(1 - turn / self.steps, 0.05), momentum=self.momentum)
        return image if best is None else best.levels()


def _loss(logits: Tensor, labels: Tensor, wrong: Tensor | None) -> Tensor:
    if wrong is None:
        return -_margins(logits, labels).sum()
    return (logits[:, wrong] - logits.gather(1, labels[:, None])[:, 0]).sum()


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Right class less the best other one: below 0 the victim errs."""
    right = logits.gather(1, labels[:, None])[:, 0]
    return right - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
