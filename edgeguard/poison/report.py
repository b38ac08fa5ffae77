"""What an evaluation of poisons says: a line and a table row for each arm, with intervals."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from edgeguard.poison.plan import Plan
from edgeguard.poison.units import Outcome
from edgeguard.reporting.html import Table, page
from edgeguard.statistics import paired_proportions, wilson


@dataclass(frozen=True)
class Row:
    """An arm over its poisons and victims.

    Attributes:
        arm: its name.
        trainings: how many.
        success, tries: summed; no tries for poisons without a target.
        accuracy: mean over trainings on the clean test images; `lowest` and `highest` of them.
        against: the difference of success to the arm `poisoned` in the same poison and victim, with its interval;
            None where there is no such pair of single targets.
    """

    arm: str
    trainings: int
    success: int
    tries: int
    accuracy: float
    lowest: float
    highest: float
    against: tuple[float, float, float] | None


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each arm, in the order of the plan."""
    by_arm: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_arm[one.arm].append(one)
    base = {(one.poison, one.victim): one for one in by_arm.get("poisoned", ())}
    found = []
    for arm, ones in by_arm.items():
        shares = [one.hits / one.n for one in ones]
        found.append(Row(
            arm, len(ones), sum(one.success for one in ones), sum(one.success_n for one in ones),
            sum(shares) / len(shares), min(shares), max(shares), _against(ones, base) if arm != "poisoned" else None,
        ))  # fmt: skip
    return found


def _against(ones: Sequence[Outcome], base: dict[tuple[int, int], Outcome]) -> tuple[float, float, float] | None:
    pairs = [(base[one.poison, one.victim], one) for one in ones if (one.poison, one.victim) in base]
    if not pairs or any(one.success_n != 1 for pair in pairs for one in pair):
        return None
    first = sum(a.success > b.success for a, b in pairs)
    second = sum(b.success > a.success for a, b in pairs)
    return paired_proportions(first, second, len(pairs))


def lines(found: Sequence[Row]) -> list[str]:
    """For the terminal."""
    return ["  ".join((f"{row.arm:22s}", *_texts(row)[1:])) for row in found]


def _texts(row: Row) -> tuple[str, ...]:
    success = "-"
    if row.tries:
        low, high = wilson(row.success, row.tries)
        success = f"{row.success} of {row.tries} [{100 * low:.0f}, {100 * high:.0f}] %"
    against = "-" if row.against is None else "{:+.0f} [{:+.0f}, {:+.0f}]".format(*(100 * x for x in row.against))
    accuracy = f"{100 * row.accuracy:.1f} % ({100 * row.lowest:.1f} to {100 * row.highest:.1f})"
    return row.arm, str(row.trainings), success, against, accuracy


def report_page(plan: Plan, outcomes: Sequence[Outcome], source: str) -> str:
    """The report as a page."""
    table = Table(
        [_texts(row) for row in rows(outcomes)],
        ("arm", "trainings", "poison succeeds", "against poisoned, points", "accuracy, clean test images"),
        numbers=4,
    )
    if plan.method == "given":
        poison = f"given: {max((one.changed for one in outcomes), default=0)} training images changed"
    else:
        share = plan.poison(wished="x", target="x").share
        poison = f"{plan.method}: budget {share:g} of the training images, eps {plan.poison_eps:g} levels"
    how = (
        f"{poison}; {plan.network}, width {plan.width}, {plan.epochs} epochs; "
        f"{plan.targets} poisons, {plan.victims} victims each"
    )
    adaptive = any(one.arm.startswith("adaptive") for one in outcomes)
    return page("poison.html", title="Poisoned training data", source=source, how=how, table_=table, adaptive=adaptive)
