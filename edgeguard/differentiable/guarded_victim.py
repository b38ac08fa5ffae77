"""What attacks that look into a guard need of a victim."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from edgeguard.dct.profile import GuardProfile


@runtime_checkable
class GuardedVictim(Protocol):
    """A victim whose guard can be told from what stands behind it."""

    @property
    def profile(self) -> GuardProfile | None:
        """Of the guard that sees the attacked levels first, or None where none does, or another kind of defense."""
        ...

    @property
    def room(self) -> int:
        """The room that the guard leaves before its transform: 0 where the attacked levels have it already."""
        ...

    def through_guard(self, levels: Tensor) -> Tensor:
        """The guard's own bytes, float32 (n, 3, h, w) to the same shape; no derivative."""
        ...

    def behind_guard(self, levels: Tensor) -> Tensor:
        """From the guard's output to logits (n, classes), with a derivative."""
        ...
