"""Guards by the names that field tests and patches use: `contract`, a profile, or a patch guard."""

from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import contract_patch_guard
from edgeguard.patchguard import PATCH_GUARDS, PatchGuard, patch_guard

CONTRACT = "contract"


def named_guard(name: str, contract: Contract) -> tuple[GuardProfile | None, PatchGuard | None]:
    """The profile and the patch guard that a name stands for.

    Args:
        name: `contract` (both of the model's own), a patch guard, a preset, a .toml profile, or `none`.
        contract: the model's.

    Raises:
        InputError: there is no such patch guard in the contract, or no such profile.

    Example:
        >>> from edgeguard.model.contract import InputSpec
        >>> profile, patch = named_guard("fd", Contract(InputSpec(32, 32)))
        >>> profile.name, patch
        ('fd', None)
    """
    if name == CONTRACT:
        return contract.guard.profile, contract_patch_guard(contract)
    if name in PATCH_GUARDS:
        return None, patch_guard(name)
    return resolve_profile(name), None
