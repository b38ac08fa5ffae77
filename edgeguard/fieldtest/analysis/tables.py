"""Tables of a report: detectors, memory, and when an approaching object was first seen."""

from edgeguard.fieldtest.analysis.findings import Counted, Findings
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.reporting.html import Table


def percent(counted: Counted | None) -> str:
    """A share with its interval."""
    if counted is None or not counted.n:
        return "-"
    low, high = counted.interval
    return f"{100 * counted.share:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def sheet_name(sheet: Sheet) -> str:
    """An arm in words."""
    if sheet.arm != "patch":
        return f"{sheet.object}: {sheet.arm}"
    through = f", made through {sheet.through_guard.split()[0]}" if sheet.through_guard else ""
    return f"{sheet.object}: patch → {sheet.target or 'anything'}{through}"


def detector_arms(found: Findings) -> Table:
    """What became of the object in eligible frames."""
    rows = [
        (
            sheet_name(arm.sheet), arm.guard, percent(arm.vanished), percent(arm.mislabeled),
            percent(arm.targeted) if arm.sheet.target else "-", str(arm.untargeted.n), percent(arm.passes),
            str(arm.passes.n), f"{100 * arm.alarms.share:.0f}",
        )
        for arm in found.arms
    ]  # fmt: skip
    head = (
        "sheet", "guard", "not found", "another class", "the target's class", "frames", "passes won", "passes",
        "alarms, %",
    )  # fmt: skip
    return Table(rows, head, numbers=7)


def remembered_table(found: Findings) -> Table | None:
    """Passes in which the object was never remembered; None where no memory was wanted."""
    rows = [
        (sheet_name(one.sheet), one.guard, percent(Counted(one.attacked, one.n)), str(one.n))
        for one in found.memory.arms
    ]
    return Table(rows, ("sheet", "guard", "passes attacked, %", "passes"), numbers=2) if rows else None


def first_seen_table(found: Findings) -> Table | None:
    """Distance and time at the first detection of approaches; None without approaches."""
    rows = [
        (
            sheet_name(one.sheet), one.guard, f"{one.n - one.never} of {one.n}",
            "-" if one.distance_mm is None else f"{one.distance_mm:.0f} [{one.nearest_mm:.0f}, {one.farthest_mm:.0f}]",
            "-" if one.seconds is None else f"{one.seconds:.1f}",
        )
        for one in found.memory.first
    ]  # fmt: skip
    head = ("sheet", "guard", "seen in", "first at, mm", "after, s")
    return Table(rows, head, numbers=3) if rows else None
