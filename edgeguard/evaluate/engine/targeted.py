"""Targeted attacks: a victim that errs only where it says one label, so that every attack is a targeted one."""

import torch
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guarded_victim import GuardedVictim


class TargetedVictim(torch.nn.Module):
    """Levels to two logits: the best other label's, and the target's. Index 0 is right as long as another one wins.

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
        return torch.stack([logits[:, others].amax(1), logits[:, self.target]], 1)
