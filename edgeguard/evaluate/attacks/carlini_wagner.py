"""Carlini and Wagner's attacks (2017, section VI) in L2 and Linf, a batch at once, on levels that a file can hold."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.differentiable.surrogates import round_straight_through
from edgeguard.evaluate.attacks.attack import Victim, whole_levels

EDGE = 0.999999  #: keeps atanh finite at black and white


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """Adam in tanh space on distance + c * margin, with a search for c.

    The victim sees rounded levels (straight-through), so that what is found survives being saved.

    Attributes:
        confidence: the logit margin that is asked for.
        steps: of Adam, for each c.
        learning_rate: in tanh space; .002 as in the paper's setting (with .02 it is three times too strong).
        searches: values of c tried: ten times larger after a failure, halfway back after a success.
        initial_const: the first c.
        targeted_next: aim at the class after the right one; else away from the right one.
    """

    gradient_free = False

    confidence: float = 5.0
    steps: int = 50
    learning_rate: float = 0.002
    searches: int = 3
    initial_const: float = 1.0
    targeted_next: bool = True

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        count = len(images)
        const, low = torch.full((count,), self.initial_const), torch.zeros(count)
        high = torch.full((count,), torch.inf)
        best, best_distance = images.clone(), torch.full((count,), torch.inf)
        for _ in range(self.searches):
            found, distance = self._minimize(victim, images, labels, const)
            closer = distance < best_distance
            best[closer], best_distance[closer] = found[closer], distance[closer]
            succeeded = distance < torch.inf
            high, low = torch.where(succeeded, const, high), torch.where(succeeded, low, const)
            const = torch.where(high < torch.inf, (low + high) / 2, const * 10)
        return whole_levels(images, best)

    def _minimize(self, victim: Victim, images: Tensor, labels: Tensor, const: Tensor) -> tuple[Tensor, Tensor]:
        """Images that reach the margin and their distance from the originals, infinite where none was found."""
        start = torch.atanh((images / 127.5 - 1) * EDGE)
        w = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([w], lr=self.learning_rate)
        best, best_distance = images.clone(), torch.full((len(images),), torch.inf)
        for _ in range(self.steps):
            levels = (torch.tanh(w) / EDGE + 1) * 127.5
            rounded = round_straight_through(levels).clamp(0, 255)
            margin = margin_of(victim(rounded), labels, self.targeted_next)
            with torch.no_grad():
                distance = self._measured(rounded - images)
                closer = (margin < -self.confidence) & (distance < best_distance)
                best[closer], best_distance[closer] = rounded[closer], distance[closer]
            loss = self._penalty((levels - images) / 255, best_distance) + const * margin.clamp_min(-self.confidence)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        return best, best_distance

    def _measured(self, delta: Tensor) -> Tensor:
        raise NotImplementedError

    def _penalty(self, delta: Tensor, best: Tensor) -> Tensor:
        raise NotImplementedError


def margin_of(logits: Tensor, labels: Tensor, targeted_next: bool) -> Tensor:
    """(n,): by how much the attack misses its class (or the right class still wins); below zero it has succeeded."""
    goal = (labels + 1) % logits.shape[1] if targeted_next else labels
    wanted = logits.gather(1, goal[:, None])[:, 0]
    rival = logits.scatter(1, goal[:, None], -torch.inf).amax(1)
    return rival - wanted if targeted_next else wanted - rival


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerL2(CarliniWagner):
    """The L2 attack."""

    @property
    def name(self) -> str:
        """For tables."""
        return "cw-l2"

    def _measured(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).norm(dim=1)

    def _penalty(self, delta: Tensor, best: Tensor) -> Tensor:
        return delta.flatten(1).square().sum(1)


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerLinf(CarliniWagner):
    """The Linf attack: what sticks out of a threshold is penalised; each success lowers the threshold."""

    searches: int = 2

    @property
    def name(self) -> str:
        """For tables."""
        return "cw-linf"

    def _measured(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).abs().amax(1)

    def _penalty(self, delta: Tensor, best: Tensor) -> Tensor:
        threshold = (best.clamp_max(8.0) / 255 * 0.9).view(-1, 1, 1, 1)
        return (delta.abs() - threshold).clamp_min(0).flatten(1).sum(1)
