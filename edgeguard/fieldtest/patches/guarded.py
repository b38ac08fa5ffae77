"""A twin behind what a patch has to get through (torch)."""

from typing import Any

import torch
from torch import Tensor

from edgeguard.errors import InputError
from edgeguard.evaluate.twin import Twin
from edgeguard.fieldtest.guards import named_guard
from edgeguard.fieldtest.patches.guard_layer import PatchGuardLayer
from edgeguard.model.contract import Contract, ContractGuard
from edgeguard.patchguard import PATCH_GUARDS


class GuardedTwin(torch.nn.Module):
    """A twin behind a guard: frames (or inputs) to what its network gives.

    Args:
        undefended: the twin.
        through: a profile, `contract` or a patch guard; None for none.
        contract: the model's own, for `contract`.

    Raises:
        InputError: `contract`, and the model carries no guard.
    """

    def __init__(self, undefended: Twin, through: str | None, contract: Contract) -> None:
        super().__init__()
        self.twin, self.layer = undefended, None
        if through is None:
            return
        if through == "contract" and contract.guard == ContractGuard():
            raise InputError("the model carries no guard: name a profile for --through-guard")
        profile, patch = named_guard(through, contract)
        if patch is not None:
            self.layer = PatchGuardLayer(patch)
        if through not in PATCH_GUARDS:
            self.twin = undefended.guarded(profile)

    def forward(self, levels: Tensor) -> Any:
        """float32 (n, 3, h, w) levels to (n, classes) logits of a classifier, or a detector's `Candidates`."""
        prepared = self.twin.prepared(levels)
        return self.twin.network(prepared if self.layer is None else self.layer(prepared))
