"""Does the guard help? A line for each defense: the same images, attacked without it and with it, by budget."""

from collections.abc import Sequence

from edgeguard.evaluate.reports.masking import WORST_CASE
from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import paired_proportions

_NO_LIMIT = 255
_TWO = "two passes"  # in the names of defenses that are computed so


def answers(cells: Sequence[Cell]) -> list[str]:
    """A line for each defense that was attacked through, beside the same attacks without a defense.

    Of classifiers the worst case of each budget counts, of detectors each attack that has gradients. Attacks that only
    ask, and rows that show a defense what was made without it, answer nothing.
    """
    told = [cell for cell in cells if _counts(cell)]
    bare = {_key(cell): cell for cell in told if cell.defence == "none"}
    lines = []
    for defense in dict.fromkeys(cell.defence for cell in told if cell.defence != "none"):
        found = [
            _difference(bare[_key(cell)], cell)
            for cell in told
            if cell.defence == defense and _key(cell) in bare and _same(bare[_key(cell)], cell)
        ]
        if found:
            lines.append(
                f"does {defense} help against these attacks? {'; '.join(found)} (points against none, 95 %, paired)"
            )
    if any(_TWO in line for line in lines):
        lines.append(
            "two passes: only where a sensor does pass 1 and the attacker sits behind it (docs/sensors.md); on one "
            "machine, or before the camera, the row with one pass counts"
        )
    return lines


def _counts(cell: Cell) -> bool:
    if cell.goal is None:
        return cell.attack == WORST_CASE
    is_attack = cell.attack != "clean" and not cell.gradient_free and not cell.note
    return is_attack and cell.eps_8bit is not None and cell.eps_8bit < _NO_LIMIT


def _key(cell: Cell) -> tuple[str, float | None]:
    return cell.attack, cell.eps_8bit


def _same(bare: Cell, cell: Cell) -> bool:
    return bare.images == cell.images and bare.n == cell.n > 0


def _difference(bare: Cell, cell: Cell) -> str:
    without, behind = set(bare.correct_images), set(cell.correct_images)
    change, low, high = paired_proportions(len(without - behind), len(behind - without), cell.n)
    budget = "" if cell.eps_8bit is None else f" eps {cell.eps_8bit:g}"
    what = "" if cell.goal is None else f"{cell.attack}"
    if len(without) == cell.n and high >= 0:  # nothing was lost that a defense could have held
        return f"{what}{budget}: says nothing, the attack fails without it as well".strip()
    verdict = "yes" if low > 0 else "no, it is worse" if high < 0 else "not shown"
    return f"{what}{budget}: {verdict}, {100 * change:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]".strip()
