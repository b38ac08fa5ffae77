"""DeepFool: to the nearest decision boundary, and a little beyond."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.evaluate.attacks.attack import Victim, whole_levels


@dataclass(frozen=True, kw_only=True)
class DeepFool:
    """DeepFool (Moosavi-Dezfooli et al. 2016, algorithm 2), L2, for a whole batch at once.

    Attributes:
        steps: linearisations.
        candidates: how many of the most likely other classes are looked at.
        overshoot: the perturbation is multiplied by 1 + overshoot at the end. Feature Distillation's has a mean L2 of
            about .75 (pixels 0..1), far more than the nearest boundary needs.
    """

    gradient_free = False

    steps: int = 20
    candidates: int = 5
    overshoot: float = 0.02

    @property
    def name(self) -> str:
        """For tables."""
        return "deepfool"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        moved = torch.zeros_like(images)
        active = torch.arange(len(images))
        for _ in range(self.steps):
            step, crossed = self._step(victim, images[active] + 1.02 * moved[active], labels[active])
            moved[active[~crossed]] += step[~crossed]
            active = active[~crossed]
            if not len(active):
                break
        return whole_levels(images, images + (1 + self.overshoot) * moved)

    def _step(self, victim: Victim, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The step to the nearest linearised boundary, and which images are beyond theirs already."""
        x = x.detach().requires_grad_(True)
        logits = victim(x)
        right = logits.gather(1, labels[:, None])[:, 0]
        others = (
            logits.detach()
            .scatter(1, labels[:, None], -torch.inf)
            .topk(min(self.candidates, logits.shape[1] - 1), dim=1)
            .indices
        )
        crossed = logits.detach().argmax(1) != labels
        nearest = torch.full((len(x),), torch.inf)
        best = torch.zeros_like(x)
        for column in others.T:
            gap = right - logits.gather(1, column[:, None])[:, 0]
            normal = torch.autograd.grad(gap.sum(), x, retain_graph=True)[0]
            squared = normal.flatten(1).square().sum(1).clamp_min(1e-12)
            distance = gap.detach().abs() / squared.sqrt()
            closer = distance < nearest
            step = -((gap.detach().abs() + 1e-4) / squared).view(-1, 1, 1, 1) * normal
            best[closer], nearest[closer] = step[closer], distance[closer]
        return best, crossed
