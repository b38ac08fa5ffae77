"""When a patch has its way on a frame: by what it was made for."""

from edgeguard.fieldtest.analysis.detections import NOTHING
from edgeguard.fieldtest.analysis.score import Outcome


def has_its_way(outcome: Outcome, truth: int, target: int | None, mode: str | None) -> bool:
    """Whether a patch of this goal succeeded on a frame; an alarm stops every attack.

    Args:
        outcome: what was said of the frame.
        truth: the object's output index.
        target: the index that the patch aims at; None for any wrong one.
        mode: what a detector's patch wants. `mislabel`: another class lies on the object, so one that vanished is no
            success. `create`: a box lies where no object is. Else, and for classifiers, all that is not right.

    Example:
        >>> gone = Outcome(0, 0, "off", NOTHING, 0.0, False, "none", 1.0, (), 0, ())
        >>> has_its_way(gone, 3, None, "vanish"), has_its_way(gone, 3, None, "mislabel")
        (True, False)
    """
    if outcome.alarm:
        return False
    if mode == "create" and outcome.apart is not None:
        return any(target in (None, index) for index in outcome.apart)
    if target is not None:
        return outcome.index == target
    return outcome.index != truth and not (mode == "mislabel" and outcome.index == NOTHING)
