"""Square attack: random squares, no gradient, only the victim's scores."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.evaluate.attacks.attack import Victim, whole_levels

#: Share of the budget of queries after which the squares halve in area (the paper's schedule for 10,000 queries).
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Square:
    """Square attack (Andriushchenko et al. 2020), Linf, on frames of any shape.

    Starts with vertical stripes of +-eps; each query sets one random square to +-eps in each channel and keeps it where
    the margin between the right class and the best other one falls.

    Attributes:
        eps_8bit: budget in levels.
        queries: how often the victim is asked about each image.
        first_share: area of the first squares, as a share of the picture.
    """

    gradient_free = True

    eps_8bit: float
    queries: int = 1000
    first_share: float = 0.8

    @property
    def name(self) -> str:
        """For tables."""
        return f"square-{self.queries} eps {self.eps_8bit:g}"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        generator = torch.Generator().manual_seed(seed)
        count, _, height, width = images.shape
        stripes = self._signs((count, 3, 1, width), generator)
        best = whole_levels(images, images + self.eps_8bit * stripes, self.eps_8bit)
        margin = _margin(victim, best, labels)
        for query in range(1, self.queries):
            open_ = torch.nonzero(margin >= 0)[:, 0]
            if not len(open_):
                break
            tried = best[open_].clone()
            side = self._side(query / self.queries, height, width)
            for row, index in enumerate(open_):
                top = int(torch.randint(0, height - side + 1, (1,), generator=generator))
                left = int(torch.randint(0, width - side + 1, (1,), generator=generator))
                here = (slice(None), slice(top, top + side), slice(left, left + side))
                change = self.eps_8bit * self._signs((3, 1, 1), generator)
                tried[row][here] = whole_levels(images[index][here], images[index][here] + change, self.eps_8bit)
            found = _margin(victim, tried, labels[open_])
            better = found < margin[open_]
            best[open_[better]], margin[open_[better]] = tried[better], found[better]
        return best

    def _signs(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1

    def _side(self, done: float, height: int, width: int) -> int:
        share = self.first_share / 2 ** sum(done > halving for halving in _HALVINGS)
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _margin(victim: Victim, images: Tensor, labels: Tensor) -> Tensor:
    """Right class less the best other one: below 0 the victim errs."""
    with torch.no_grad():
        logits = victim(images)
    right = logits.gather(1, labels[:, None])[:, 0]
    return right - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
