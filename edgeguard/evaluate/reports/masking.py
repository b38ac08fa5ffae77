"""Signs that an attack failed rather than that a defence held (Athalye et al. 2018, section 3.1)."""

from collections.abc import Sequence
from itertools import pairwise

from edgeguard.evaluate.protocol import AttackPlan
from edgeguard.evaluate.reports.results import Cell

WORST_CASE = "worst case"
#: What stands there instead where no attack had a gradient: the worst of these is no worst case.
GRADIENT_FREE_ONLY = "gradient-free attacks only"
SUMMARIES = (WORST_CASE, GRADIENT_FREE_ONLY)
_NO_LIMIT = 255
#: An attack that takes so many of all images from what the attacks before it left, and two at least, outdoes them.
_OUTDONE_SHARE = 0.1


def summary_title(attacks: Sequence[AttackPlan]) -> str:
    """What the row over all attacks of a budget may be called."""
    return WORST_CASE if any(not plan.gradient_free for plan in attacks) else GRADIENT_FREE_ONLY


def masking_warnings(cells: Sequence[Cell]) -> list[str]:
    """One line for each sign of gradient masking.

    Looked for in white-box cells: accuracy that rises with the budget, a gradient-free attack that does better than all
    gradient attacks of its budget, an attack without limit that does not reach 0, and an attack that takes much of what
    the stronger ones before it left.

    Args:
        cells: of one evaluation. `Cell.gradient_free` tells the two kinds of attacks apart, not their names.
    """
    warnings = []
    for defence in dict.fromkeys(cell.defence for cell in cells):
        mine = [cell for cell in cells if cell.defence == defence and cell.eps_8bit is not None]
        warnings += _rises(defence, mine) + _beaten(defence, mine) + _unlimited(defence, mine)
        warnings += _outdone(defence, mine)
    return warnings


def _rises(defence: str, cells: Sequence[Cell]) -> list[str]:
    found = []
    for attack in dict.fromkeys(cell.attack for cell in cells):
        ordered = sorted((cell for cell in cells if cell.attack == attack), key=lambda cell: cell.eps_8bit or 0)
        for smaller, larger in pairwise(ordered):
            if larger.interval[0] > smaller.interval[1]:
                found.append(
                    f"{defence}: {attack} leaves {_percent(larger)} with eps {larger.eps_8bit:g} and "
                    f"{_percent(smaller)} with eps {smaller.eps_8bit:g}: the attack is weak, not the defense strong"
                )
    return found


def _beaten(defence: str, cells: Sequence[Cell]) -> list[str]:
    found = []
    for cell in cells:
        if not cell.gradient_free:
            continue
        same_budget = [other for other in cells if (other.eps_8bit, other.goal) == (cell.eps_8bit, cell.goal)]
        gradient = [other for other in same_budget if not other.gradient_free and other.attack not in SUMMARIES]
        if gradient and cell.correct < min(other.correct for other in gradient):
            best = min(gradient, key=lambda other: other.correct)
            found.append(
                f"{defence}: {cell.attack}, which sees no gradient, leaves {_percent(cell)} at eps {cell.eps_8bit:g}, "
                f"the best gradient attack {_percent(best)}: gradients are masked"
            )
    return found


def _unlimited(defence: str, cells: Sequence[Cell]) -> list[str]:
    # of a detector every attack stands alone: there is no worst case over goals
    unlimited = [c for c in cells if c.eps_8bit == _NO_LIMIT and (c.attack in SUMMARIES or c.goal is not None)]
    return [
        f"{defence}: {_percent(cell)} survive an attack without limit (eps 255): the attack is broken"
        for cell in unlimited
        if cell.correct > 0
    ]


def _outdone(defence: str, cells: Sequence[Cell]) -> list[str]:
    found, seen = [], set[float | None]()
    for cell in cells:
        if cell.left_before is None:
            continue
        taken = cell.left_before - cell.correct
        if cell.eps_8bit in seen and taken >= max(2, _OUTDONE_SHARE * cell.n):
            found.append(
                f"{defence}: {cell.attack} takes {taken} of the {cell.left_before} images that the attacks before it "
                f"left at eps {cell.eps_8bit:g}: those are weak, and a better attack may take more still"
            )
        seen.add(cell.eps_8bit)
    return found


def _percent(cell: Cell) -> str:
    return f"{100 * cell.accuracy:.0f} %"
