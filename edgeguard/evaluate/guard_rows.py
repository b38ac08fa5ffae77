"""A guard that the file does not carry, in the rows of a protocol that are for the file's own."""

from dataclasses import replace

from edgeguard.dct.profile import resolve_profile
from edgeguard.errors import InputError, ProfileError
from edgeguard.evaluate.protocol import DefensePlan, Protocol
from edgeguard.model.contract import Contract

_OWN = "contract"


def with_guard(plan: Protocol, guard: str, contract: Contract) -> Protocol:
    """The protocol with a named guard wherever it has the model's own; the place stays that of the contract.

    Args:
        plan: what is attacked how.
        guard: a preset, or a profile's .toml.
        contract: of the model.

    Raises:
        InputError: there is no such guard, the protocol has no row for one, or the model's is inside its graph.
    """
    try:
        profile = resolve_profile(guard)
    except (ProfileError, OSError) as error:
        raise InputError(f"--guard {guard}: {error}") from error
    if profile is None:
        raise InputError("--guard none: every protocol has a row without a guard; name a preset or a .toml profile")
    if contract.guard.place == "in-graph":
        raise InputError("--guard: this model has its guard inside the graph, where no other can take its place")
    if not any(one.name == _OWN for one in plan.defenses):
        raise InputError(
            f"--guard takes the place of the model's own; the protocol {plan.name} names its defenses itself"
        )
    one_pass_only = contract.guard.place == "input" and plan.place == "contract"
    chosen = [replace(one, name=guard) if one.name == _OWN else one for one in plan.defenses]
    kept: dict[tuple[str, str], DefensePlan] = {}
    for one in chosen:
        if not (one.name == guard and one.when != "once" and one_pass_only):
            kept.setdefault((one.name, one.when), one)
    return replace(plan, defenses=tuple(kept.values()))


def unmeasured(plan: Protocol, contract: Contract) -> str | None:
    """A line where the protocol asks for the file's guard and the file carries none; None elsewhere."""
    if contract.guard.profile is not None or all(one.name != _OWN for one in plan.defenses):
        return None
    return (
        "THIS FILE CARRIES NO GUARD: no row of this protocol tells whether one helps; --guard fd (into another "
        "--output) measures that one in front of it"
    )
