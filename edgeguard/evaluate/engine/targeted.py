"""Targeted attacks: a victim that errs only where it says one label, so that every attack is a targeted one."""

import torch
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guarded_victim import GuardedVictim

_WIDE = 4.0


def squashed(margin: Tensor) -> Tensor:
    """A margin in -4..4, of the same sign: the cross-entropy of a margin above 16 has no gradient in float32 left."""
    return _WIDE * margin / (_WIDE + margin.abs())


class TargetedVictim(torch.nn.Module):
    """Levels to two logits: by how much the best other label's is above the target's, squashed, and zero.

    Index 0 is right as long as another label wins.

    What attacks need that look into the guard is passed on; a victim without a guard has no profile.

    Args:
        victim: levels (n, 3, h, w) to logits (n, classes).
        target: the index that shall win.
    """

    def __init__(self, victim: torch.nn.Module, target: int) -> None:
        super().__init__()
        self.victim, self.target = victim, target

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) to (n, 2)."""
        return self._two(self.victim(levels))

    @property
    def profile(self) -> GuardProfile | None:
        """See `GuardedVictim`."""
        return self.victim.profile if isinstance(self.victim, GuardedVictim) else None

    @property
    def room(self) -> int:
        """See `GuardedVictim`."""
        return self.victim.room if isinstance(self.victim, GuardedVictim) else 0

    def through_guard(self, levels: Tensor) -> Tensor:
        """See `GuardedVictim`."""
        return self.victim.through_guard(levels) if isinstance(self.victim, GuardedVictim) else levels

    def behind_guard(self, levels: Tensor) -> Tensor:
        """See `GuardedVictim`."""
        behind = self.victim.behind_guard(levels) if isinstance(self.victim, GuardedVictim) else self.victim(levels)
        return self._two(behind)

    def _two(self, logits: Tensor) -> Tensor:
        others = torch.arange(logits.shape[1]) != self.target
        margin = squashed(logits[:, others].amax(1) - logits[:, self.target])
        return torch.stack([margin, torch.zeros_like(margin)], 1)
