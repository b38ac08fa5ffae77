"""Linf attacks along the gradient's sign: FGSM, BIM, PGD, each a few overridable steps."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.attacks.attack import Victim, is_wrong, whole_levels


@dataclass(frozen=True, kw_only=True)
class Pgd:
    """Projected gradient descent (Madry et al. 2018), Linf.

    Attributes:
        eps_8bit: budget in levels.
        step_8bit: step in levels; by default 2.5 budgets divided by the number of steps.
        steps: gradient steps of each restart.
        restarts: random starts; the first success of an image counts.
        random_start: begin anywhere in the budget instead of at the image.
        early_stop: leave an image alone once the victim errs; a fifth of the work on weak victims.

    Example:
        >>> Pgd(eps_8bit=4, steps=40).name
        'pgd-40 eps 4'
    """

    gradient_free = False

    eps_8bit: float
    step_8bit: float | None = None
    steps: int = 40
    restarts: int = 1
    random_start: bool = True
    early_stop: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"pgd-{self.steps} eps {self.eps_8bit:g}"

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        generator = torch.Generator().manual_seed(seed)
        best = images.clone()
        open_ = torch.ones(len(images), dtype=torch.bool)
        for _ in range(self.restarts):
            found = whole_levels(images, self._once(victim, images, labels, generator), self.eps_8bit)
            best[open_] = found[open_]
            if self.restarts > 1:
                open_ &= ~is_wrong(victim, found, labels)
                if not open_.any():
                    break
        return best

    def _once(self, victim: Victim, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        x = self._start(images, generator)
        open_ = torch.arange(len(images))
        for _ in range(self.steps):
            gradient, wrong = self._gradient(victim, _rows(x, open_), labels[open_])
            if self.early_stop and wrong.any():
                open_, gradient = open_[~wrong], gradient[~wrong]
                if not len(open_):
                    break
            moved = _rows(x, open_) + self._step * self._direction(gradient)
            x[open_] = self._project(_rows(images, open_), moved)
        return x

    @property
    def _step(self) -> float:
        return self.step_8bit if self.step_8bit is not None else 2.5 * self.eps_8bit / self.steps

    def _start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if not self.random_start:
            return images.clone()
        noise = torch.rand(images.shape, generator=generator).contiguous(memory_format=torch.channels_last)
        return self._project(images, images + self.eps_8bit * (2 * noise - 1))

    def _gradient(self, victim: Victim, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss's gradient, and for which images the victim errs already."""
        x = x.detach().requires_grad_(True)
        logits = victim(x)
        gradient = torch.autograd.grad(self._loss(logits, labels), x)[0]
        return gradient, logits.detach().argmax(1) != labels

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="sum")

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def _project(self, images: Tensor, x: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, images - self.eps_8bit), images + self.eps_8bit).clamp_(0, 255)


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """Some images of a batch, in the layout that convolutions like."""
    return x if len(rows) == len(x) else x[rows].contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, kw_only=True)
class Bim(Pgd):
    """Basic iterative method (Kurakin et al. 2017): from the image itself, with a step of its own."""

    step_8bit: float | None = 0.51
    steps: int = 10
    random_start: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"bim-{self.steps} eps {self.eps_8bit:g}"


@dataclass(frozen=True, kw_only=True)
class Fgsm(Pgd):
    """Fast gradient sign method (Goodfellow et al. 2015): one whole step."""

    steps: int = 1
    random_start: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"fgsm eps {self.eps_8bit:g}"

    @property
    def _step(self) -> float:
        return self.eps_8bit
