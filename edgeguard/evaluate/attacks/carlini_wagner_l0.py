"""Carlini and Wagner's attack (2017, section VI.B) on the number of changed pixels, a batch at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.differentiable.surrogates import round_straight_through
from edgeguard.evaluate.attacks.attack import Victim, whole_levels
from edgeguard.evaluate.attacks.carlini_wagner import EDGE, margin_of


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerL0:
    """Solve with all pixels; forbid those that helped least; solve again from there, until it cannot be done.

    A pixel's help is |gradient of the margin x change|, summed over its channels. Their code forbids few pixels a
    round; here a share of those in use, which is halved where a round fails: twenty rounds then reach what hundreds do.

    Attributes:
        confidence: the logit margin that is asked for.
        rounds: solutions sought.
        steps: of Adam, in tanh space, for each.
        learning_rate: a pixel may change by all it has, so it is larger than for L2.
        const: weight of the margin against squared L2.
        targeted_next: aim at the class after the right one; else away from the right one.
    """

    gradient_free = False

    confidence: float = 5.0
    rounds: int = 20
    steps: int = 40
    learning_rate: float = 0.05
    const: float = 10.0
    targeted_next: bool = True

    @property
    def name(self) -> str:
        """For tables."""
        return "cw-l0"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        best, start = images.clone(), images.clone()
        in_use = torch.ones_like(images[:, :1], dtype=torch.bool)
        allowed, ever = in_use.clone(), torch.zeros(len(images), dtype=torch.bool)
        help_of = torch.zeros_like(images[:, :1])
        share = torch.full((len(images),), 0.5)
        for _ in range(self.rounds):
            found, reached, help_now = self._solve(victim, images, start, labels, allowed)
            best[reached], help_of[reached] = found[reached], help_now[reached]
            in_use[reached] = (found != images).any(1, keepdim=True)[reached]
            share[ever & ~reached] /= 2
            start = torch.where(_wide(ever & ~reached), start, found)  # before the first success: go on from there
            ever |= reached
            allowed = in_use & ~(_least(help_of, in_use, share) & _wide(ever))
        return whole_levels(images, best)

    def _solve(
        self, victim: Victim, images: Tensor, start: Tensor, labels: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The first images that reach the margin by allowed pixels, which those are, and each pixel's help there."""
        original, begun = (torch.atanh((x / 127.5 - 1) * EDGE) for x in (images, start))
        w = torch.where(allowed, begun, original).requires_grad_(True)
        optimizer = torch.optim.Adam([w], lr=self.learning_rate)
        found, reached = images.clone(), torch.zeros(len(images), dtype=torch.bool)
        helped = torch.zeros_like(images[:, :1])
        for _ in range(self.steps):
            levels = torch.where(allowed, (torch.tanh(w) / EDGE + 1) * 127.5, images)
            rounded = round_straight_through(levels).clamp(0, 255)
            margin = margin_of(victim(rounded), labels, self.targeted_next)
            (gradient,) = torch.autograd.grad(margin.sum(), rounded, retain_graph=True)
            distance = ((levels - images) / 255).flatten(1).square().sum()
            w.grad = torch.autograd.grad([distance, rounded], w, [torch.ones(()), self.const * gradient])[0]
            with torch.no_grad():
                helped_here = ((rounded - images) * gradient).abs().sum(1, keepdim=True)
                now = ~reached & (margin < -self.confidence)
                found[~reached], helped[now] = rounded.detach()[~reached], helped_here[now]
                reached |= now
            if reached.all():
                break
            optimizer.step()
        return found, reached, helped


def _least(helped: Tensor, in_use: Tensor, share: Tensor) -> Tensor:
    """bool (n, 1, h, w): of the pixels in use of each image the share that helped least, one at least."""
    counts = (in_use.flatten(1).sum(1) * share).long().clamp_min(1)
    ranked = torch.where(in_use, helped, torch.inf).flatten(1).argsort(1).argsort(1)
    return (ranked < counts[:, None]).view_as(in_use)


def _wide(images: Tensor) -> Tensor:
    return images.view(-1, 1, 1, 1)
