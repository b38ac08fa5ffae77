"""What an attack is: images and labels in, whole levels out."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

#: float32 (n, 3, h, w) levels 0..255 to (n, classes) logits: a torch module, or anything that can be called like one.
Victim = Callable[[Tensor], Any]


class Attack(Protocol):
    """A way to change images so that a victim errs.

    Budgets are in 8-bit levels. Results are whole levels 0..255: what a file or a wire can carry.
    """

    @property
    def name(self) -> str:
        """For tables."""
        ...

    @property
    def gradient_free(self) -> bool:
        """True where it only asks the victim for outputs: it then runs on the deployed file itself."""
        ...

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """Attack a batch.

        Args:
            victim: what the attacker differentiates, or only asks.
            images: float32 (n, 3, h, w), whole levels.
            labels: int64 (n,), the right classes.
            seed: of everything random.

        Returns:
            Changed images of the same shape, whole levels.
        """
        ...


def whole_levels(images: Tensor, changed: Tensor, eps_8bit: float | None = None) -> Tensor:
    """Round a changed image to levels, without leaving a budget that holds whole levels only.

    Args:
        images: float32 (n, 3, h, w), whole levels 0..255.
        changed: the same shape, any values.
        eps_8bit: largest change of a value, in levels (a share of a level is no budget); None: no bound.

    Returns:
        The same shape, whole levels 0..255.
    """
    delta = (changed - images).round()
    if eps_8bit is not None:
        delta = delta.clamp(-int(eps_8bit + 1e-6), int(eps_8bit + 1e-6))
    return (images + delta).clamp(0, 255)


def is_wrong(victim: Victim, images: Tensor, labels: Tensor) -> Tensor:
    """bool (n,): the victim's label differs from the right one.

    Args:
        victim: levels to logits.
        images: float32 (n, 3, h, w), levels 0..255.
        labels: int64 (n,), the right classes.
    """
    with torch.no_grad():
        return victim(images).argmax(1) != labels
