"""Does the guard help? A line for each defense: the same images, attacked without it and with it, by budget."""

import itertools
from collections.abc import Iterator, Sequence

from edgeguard.evaluate.reports.masking import WORST_CASE
from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import paired_proportions

_NO_LIMIT = 255
_TWO_PASSES = ", two passes"
_WIDE, _WANTED = 0.3, 0.2  # half an interval that tells little; one that tells something


def answers(cells: Sequence[Cell]) -> list[str]:
    """A line for each defense that was attacked through, beside the same attacks without a defense.

    Of classifiers the worst case of each budget counts, of detectors each attack that has gradients. Attacks that only
    ask, and rows that show a defense what was made without it, answer nothing.
    """
    told = [cell for cell in cells if _counts(cell)]
    bare = {_key(cell): cell for cell in told if cell.defence == "none"}
    unharmed = next((cell for cell in cells if cell.attack == "clean" and cell.defence == "none"), None)
    lines = []
    blind = {cell.defence for cell in cells if cell.attack == "clean" and cell.n > 0 and cell.correct == 0}
    for defense in dict.fromkeys(cell.defence for cell in told if cell.defence != "none"):
        if defense in blind and any(cell.goal is not None for cell in told):
            lines.append(f"does {defense} help? Behind it no object is found in clean pictures: its rows say nothing")
            continue
        found = [
            _difference(bare[_key(cell)], cell, unharmed)
            for cell in told
            if cell.defence == defense and _key(cell) in bare and _same(bare[_key(cell)], cell)
        ]
        if found:
            lines.append(
                f"does {defense} help against these attacks? {'; '.join(found)} (points against none, 95 %, paired)"
            )
    return [*lines, *_how_to_read(told)]


def _how_to_read(told: Sequence[Cell]) -> Iterator[str]:
    """Which of two rows is the reader's own set-up; of detectors how many pictures would tell more."""
    defenses = {cell.defence for cell in told}
    both = sorted(name for name in defenses if any(other.startswith(name + _TWO_PASSES) for other in defenses))
    if both:
        yield (
            f"two passes: only where a sensor does pass 1 and the attacker sits behind it; on one box, or in front of "
            f"the camera, {' and '.join(both)} without these words is your row"
        )
    few = min((cell.n for cell in told if cell.goal is not None), default=0)
    if few and (half := _half_width(few)) > _WIDE:
        enough = next(n for n in itertools.count(few) if _half_width(n) <= _WANTED)
        yield (
            f"{few} pictures show only differences of about {100 * half:.0f} points and more; --limit {enough} would "
            f"show {100 * _WANTED:.0f}"
        )


def _half_width(n: int) -> float:
    """Of the interval of a paired difference between two equal shares of n images, where a third of them changed."""
    _, low, high = paired_proportions(n // 6, n // 6, n)
    return (high - low) / 2


def _counts(cell: Cell) -> bool:
    if cell.goal is None:
        return cell.attack == WORST_CASE
    is_attack = cell.attack != "clean" and not cell.gradient_free and not cell.note
    return is_attack and cell.eps_8bit is not None and cell.eps_8bit < _NO_LIMIT


def _key(cell: Cell) -> tuple[str, float | None]:
    return cell.attack, cell.eps_8bit


def _same(bare: Cell, cell: Cell) -> bool:
    return bare.images == cell.images and bare.n == cell.n > 0


def _difference(bare: Cell, cell: Cell, unharmed: Cell | None) -> str:
    without, behind = set(bare.correct_images), set(cell.correct_images)
    change, low, high = paired_proportions(len(without - behind), len(behind - without), cell.n)
    budget = "" if cell.eps_8bit is None else f" eps {cell.eps_8bit:g}"
    what = "" if cell.goal is None else f"{cell.attack}"
    if cell.goal is not None and unharmed is not None and _did_nothing(bare, unharmed):
        return f"{what}{budget}: says nothing, it did no harm without a defense either".strip()
    verdict = "yes" if low > 0 else "no, it is worse" if high < 0 else "not shown"
    return f"{what}{budget}: {verdict}, {100 * change:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]".strip()


def _did_nothing(bare: Cell, unharmed: Cell) -> bool:
    """Whether an attack left the undefended detector every object that it finds in clean pictures, or invented none."""
    if bare.goal == "create":
        return bare.correct == bare.n
    return _same(unharmed, bare) and bare.correct >= unharmed.correct
