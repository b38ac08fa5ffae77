"""What the arms of the virtual field say against a patch: it loses to plain gray, or they can show little of any."""

import math
from collections.abc import Callable, Sequence

from edgeguard.evaluate.protocol import Goal
from edgeguard.fieldtest.patches.detector_field import ArmResult
from edgeguard.fieldtest.sheets.field_object import Mount
from edgeguard.statistics import wilson

_KNOWN = 0.5  # share of the clean views in which the object is found, for a patch to be judged
_NO_ROOM = 0.8  # of the views that plain gray has its way in: a patch can do hardly more
#: In how many views of an arm a patch had its way.
_EFFECTS: dict[Goal, Callable[[ArmResult], int]] = {
    "vanish": lambda arm: arm.n - arm.found,
    "mislabel": lambda arm: arm.renamed,
    "create": lambda arm: arm.created,
}


def losing(arms: Sequence[ArmResult], mode: Goal, successes: int, views: int, last_share: float) -> tuple[str, ...]:
    """Why a patch does no more than its plain control, from what was measured; empty where it surely does more."""
    by_arm = {one.arm: one for one in arms}
    if not {"clean", "plain", "patch"} <= by_arm.keys():
        return ()
    clean, plain, patch = (by_arm[arm] for arm in ("clean", "plain", "patch"))
    effect = _EFFECTS[mode]
    if _is_more((effect(patch), patch.n), (effect(plain), plain.n)):
        return ()
    loses = effect(patch) <= effect(plain)
    what = "it loses against the plain control" if loses else "it beats the plain control by no more than chance"
    lines = [f"{what}: {effect(patch)} of {patch.n} views go its way, {effect(plain)} with plain gray of its size"]
    if _KNOWN * clean.n <= clean.found < 0.8 * clean.n:
        lines.append(
            f"the object is found in {clean.found} of {clean.n} views without a patch: too few to lose. The detector "
            "has to know it first: the right --label, other --distances, a paper that hides less of it"
        )
    if last_share < 0.5:
        lines.append(
            f"it had its way in {100 * last_share:.0f} % of the views of the last step: more --steps or --size"
        )
    elif successes < 0.5 * views:
        lines.append(f"it had its way in the last step, but in {successes} of {views} fresh views: a larger --batch")
    elif effect(patch) < 0.5 * patch.n:
        lines.append(
            f"the twin is beaten in {successes} of {views} fresh views, the deployed file is not: see its agreement"
        )
    return tuple(lines)


def _is_more(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a rate (hits, n) is larger than another, by Newcombe's 95 % interval of their difference."""
    (low, _), (_, high) = wilson(*one), wilson(*other)
    share, other_share = one[0] / one[1], other[0] / other[1]
    return share - other_share > math.hypot(share - low, high - other_share)


def arm_doubts(arms: Sequence[ArmResult], mode: Goal, mount: Mount | None) -> tuple[str, ...]:
    """Why these views can show little of any patch, and what to do; empty where they can.

    Args:
        arms: of the virtual field.
        mode: what the patch wants.
        mount: how a real object is shown; None for a card.
    """
    by_arm, lines = {one.arm: one for one in arms}, []
    clean, plain = by_arm.get("clean"), by_arm.get("plain")
    if clean is not None and clean.found < _KNOWN * clean.n:
        lines.append(
            f"THE CLEAN OBJECT IS FOUND IN {clean.found} OF {clean.n} VIEWS ONLY, and the others judge no patch: give "
            "other --distances NEAR,FAR (fieldtest plan finds some), a smaller --angle, the right --label, or take a "
            "model that knows the object"
        )
    elif plain is not None and _has_no_room(clean, plain, mode):
        others = {"on": ", --mount sheet or --mount beside", "beside": ", --mount sheet"}.get(mount or "", "")
        lines.append(
            f"PLAIN GRAY OF ITS SIZE HAS ITS WAY IN {_EFFECTS[mode](plain)} OF {plain.n} VIEWS ALREADY: there is no "
            f"room for a patch to do more; give a smaller --size, another --at{others}"
        )
    return tuple(lines)


def _has_no_room(clean: ArmResult | None, plain: ArmResult, mode: Goal) -> bool:
    """Whether plain gray has its way nearly always; of what vanishes, where the clean object is there to vanish."""
    if mode == "vanish" and clean is not None and clean.n == plain.n:
        return plain.found <= (1 - _NO_ROOM) * clean.found
    return _EFFECTS[mode](plain) >= _NO_ROOM * plain.n
