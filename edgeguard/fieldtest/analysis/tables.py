"""Tables of a report: detectors, memory, and when an approaching object was first seen."""

from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.findings import Findings
from edgeguard.fieldtest.analysis.why_files import Why
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.reporting.html import Entry, Table


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
    return f"{sheet.object}: patch → {sheet.aim}{through}"


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
        "sheet", "guard", "not found", "another class", "its target", "frames", "passes won", "passes",
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


def why_section(session: Session, one: Why) -> tuple[str, str, Table, str]:
    """Heading, sentence, table and what it was measured on, of one patch."""
    sheet = session.plan.sheet(one.sheet)
    name = f"sheet {one.sheet}" if sheet is None else sheet_name(sheet)
    first = one.losses()[0][0] if one.losses() else ""
    rows: list[tuple[Entry | str, ...]] = []
    for before, after in zip((one.ladder[0], *one.ladder), one.ladder, strict=False):
        step = after.steps[-1] if after.steps else ""
        lost = "" if after is before else f"{100 * (after.success - before.success):+.0f}"
        title = step_name(step, one.guard)
        rows.append((
            Entry(title, look="strong") if step and step == first else title, f"{100 * after.success:.0f}", lost,
            f"{100 * after.clean:.0f}", f"{after.push:.2f}",
        ))  # fmt: skip
    marked = frozenset(k for k, s in enumerate(one.ladder) if s.steps and s.steps[-1] == first)
    head = ("with", "success, %", "change", "clean right, %", "push on the score")
    field = "" if one.field is None else f" As recorded, {100 * one.field:.0f} % of these frames were a success."
    about = (
        f"{one.frames} of your frames, made again from the digital picture. Strongest at {one.best_px:.0f} pixels; "
        f"in the frames it is {one.side_px:.0f} pixels (median), turned by {one.angle_deg:.0f} degrees, blurred by "
        f"{one.sigma_px:.1f} pixels.{field}"
    )
    return name, one.sentence(), Table(rows, head, numbers=4, marked=marked), about


def step_name(step: str, guard: str | None) -> str:
    """A step in words, as the last one that is switched on."""
    return {
        "": "nothing: the digital patch at its best size",
        "colors": "+ colors of print, light and camera",
        "scale": "+ its size in the frame",
        "angle": "+ its angle",
        "blur": "+ blur",
        "camera JPEG": "+ the camera's JPEG",
        "guard": f"+ guard {guard}",
    }[step]
