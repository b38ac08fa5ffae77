"""Clean accuracies that say that the labels or the images are not what they should be."""

from collections.abc import Mapping
from typing import Any

from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import is_chance, wilson

_FAR = 0.05


def implausible(cell: Cell, gates: Mapping[str, Any], classes: int, *, is_deployed: bool) -> str | None:
    """What a clean accuracy lets one suspect, in words; None where nothing is odd.

    Args:
        cell: clean images behind a defense.
        gates: what the contract says that the conversion measured.
        classes: of the model.
        is_deployed: the defense is what the gates saw as well: the contract's guard, or none where it has none.
    """
    low, high = cell.interval
    measured = f"clean accuracy {100 * cell.accuracy:.1f} % [{100 * low:.0f}, {100 * high:.0f}] (n = {cell.n})"
    gate, n = gates.get("int8_top1"), gates.get("n")
    if is_deployed and isinstance(gate, int | float) and isinstance(n, int) and n > 0 and 0 <= gate <= 1:
        least = wilson(round(gate * n), n)[0]
        if high < least and gate - cell.accuracy > _FAR:
            return (
                f"{measured} is far below the {100 * gate:.1f} % that the conversion measured (n = {n}): are these "
                "images like those, and are the labels right?"
            )
    if is_chance(cell.correct, cell.n, classes):
        return f"{measured} is no better than chance with {classes} classes: are labels and preprocessing right?"
    return None
