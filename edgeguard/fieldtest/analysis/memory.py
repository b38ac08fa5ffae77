"""What a system that remembers would say: passes in which the object was never seen long enough, and when it first was.

A system that tracks acts on an object that it saw in some frames in a row, and keeps acting on it. A patch that wins
most frames of an approach has not won if the object is seen N times in a row once (NDSS 2025, arXiv 2409.09860:
Revisiting Physical-World Adversarial Attack on Traffic Sign Recognition: A Commercial Systems Perspective).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.fieldtest.analysis.paired import Difference, paired_difference
from edgeguard.fieldtest.analysis.score import OFF, Outcome, Scores
from edgeguard.fieldtest.session.controls import controls_of
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.session.session import Pass, Session
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.statistics import wilson


@dataclass(frozen=True)
class Remembered:
    """One sheet behind one guard, by passes.

    Attributes:
        attacked: eligible passes in which the object was never seen in `memory` frames in a row.
        n: eligible passes: without a guard the clean object's own pass was remembered.
    """

    sheet: Sheet
    guard: str
    attacked: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 %; passes are independent."""
        return wilson(self.attacked, self.n) if self.n else (0.0, 1.0)


@dataclass(frozen=True)
class FirstSeen:
    """When an approaching object was first seen (with a memory: remembered).

    Attributes:
        n: approaches: films and drive-bys.
        never: of them, not at all.
        distance_mm, seconds: medians over the others; None where there are none.
        nearest_mm, farthest_mm: quartiles of the distance.
    """

    sheet: Sheet
    guard: str
    n: int
    never: int
    distance_mm: float | None
    seconds: float | None
    nearest_mm: float | None
    farthest_mm: float | None


@dataclass(frozen=True)
class MemoryFindings:
    """With a memory of so many frames; 1 where it was not wanted: then a single frame is enough.

    Attributes:
        frames: of the memory.
        arms: empty where no memory was wanted.
        first: empty without approaches.
        beats: patch against control in the same position, a line for each pair of arms without a guard.
        short: passes with fewer frames than the memory, which are left out.
    """

    frames: int
    arms: tuple[Remembered, ...]
    first: tuple[FirstSeen, ...]
    beats: tuple[tuple[str, Difference], ...]
    short: int


def first_run(seen: Sequence[bool], length: int) -> int | None:
    """Which frame completes the first run of that many frames; None where there is no such run.

    Example:
        >>> first_run([True, False, True, True], 2), first_run([True, False], 2)
        (3, None)
    """
    run = 0
    for place, one in enumerate(seen):
        run = run + 1 if one else 0
        if run >= length:
            return place
    return None


def memory_findings(session: Session, scores: Scores) -> MemoryFindings:
    """Passes as a system with `scores.memory` sees them."""
    return _Passes(session, scores).findings()


class _Passes:
    def __init__(self, session: Session, scores: Scores) -> None:
        self.session, self.plan, self.scores = session, session.plan, scores
        self.frames = scores.memory or 1
        self.by_pass: dict[tuple[int, str], list[Outcome]] = {}
        for outcome in scores.outcomes:
            self.by_pass.setdefault((outcome.number, outcome.guard), []).append(outcome)
        self.remembered_clean = self._clean()

    def seen(self, done: Pass, guard: str) -> list[bool]:
        """Of each frame that was scored, in order: the object is seen as what it is, and no alarm stops that."""
        sheet = self.plan.sheet(done.sheet)
        assert sheet is not None
        truth = self.scores.labels.index(sheet.label)
        outcomes = sorted(self.by_pass.get((done.number, guard), []), key=lambda one: one.shot)
        return [one.index == truth and not one.alarm for one in outcomes]

    def _clean(self) -> dict[object, list[bool]]:
        """Whether the clean passes of an object were remembered without a guard: of each placement, and of its cell."""
        found: dict[object, list[bool]] = {}
        for done in self.session.passes:
            sheet = self.plan.sheet(done.sheet)
            if sheet is None or sheet.arm != "clean" or len(done.frames) < self.frames:
                continue
            good = first_run(self.seen(done, OFF), self.frames) is not None
            for key in ((sheet.object, done.cell, done.repeat), (sheet.object, done.cell)):
                found.setdefault(key, []).append(good)
        return found

    def eligible(self, done: Pass, sheet: Sheet) -> bool:
        """The clean object in the same placement was remembered; of films and photographs by the most of its passes."""
        if len(done.frames) < self.frames:
            return False
        exact = done.cell is not None and done.frames[0].origin is None
        key: tuple[str, Cell | None, int] | tuple[str, Cell | None] = (
            (sheet.object, done.cell, done.repeat) if exact else (sheet.object, done.cell)
        )
        passes = self.remembered_clean.get(key, [])
        return sum(passes) > len(passes) / 2

    def attacked(self, sheet: Sheet, guard: str) -> dict[tuple[Cell | None, int], bool]:
        """Eligible passes of a sheet: True where the object was never remembered."""
        return {
            (done.cell, done.repeat): first_run(self.seen(done, guard), self.frames) is None
            for done in self.session.passes
            if done.sheet == sheet.number and self.by_pass.get((done.number, guard)) and self.eligible(done, sheet)
        }

    def findings(self) -> MemoryFindings:
        guards, sheets = self.scores.guards, self.plan.sheets
        arms: list[Remembered] = []
        if self.scores.memory is not None:
            for sheet in sheets:
                for guard in guards:
                    each = self.attacked(sheet, guard)
                    arms.append(Remembered(sheet, guard, sum(each.values()), len(each)))
        first = [one for sheet in sheets for guard in guards if (one := self.first_seen(sheet, guard)) is not None]
        short = sum(len(done.frames) < self.frames for done in self.session.passes)
        return MemoryFindings(self.frames, tuple(arms), tuple(first), tuple(self.beats()), short)

    def beats(self) -> list[tuple[str, Difference]]:
        if self.scores.memory is None:
            return []
        found = []
        for patch in self.plan.sheets:
            if patch.arm != "patch" or patch.mode == "create":  # what creates something leaves the object in sight
                continue
            for control in controls_of(patch, self.plan.sheets):
                a, b = self.attacked(patch, OFF), self.attacked(control, OFF)
                both = [key for key in a if key in b]
                difference = paired_difference(
                    np.array([a[key] for key in both], np.float64), np.array([b[key] for key in both], np.float64)
                )
                if difference is not None:
                    what = f"{patch.object}, patch {patch.number}: with a memory of {self.frames} frames, does it beat"
                    found.append((f"{what} the {control.arm} control, guard off?", difference))
        return found

    def first_seen(self, sheet: Sheet, guard: str) -> FirstSeen | None:
        """Over approaches; None without any."""
        distances, seconds, never = list[float](), list[float](), 0
        for done in self.session.passes:
            if done.sheet != sheet.number or done.cell is not None or not self.by_pass.get((done.number, guard)):
                continue
            outcomes = sorted(self.by_pass[done.number, guard], key=lambda one: one.shot)
            place = first_run(self.seen(done, guard), self.frames)
            if place is None:
                never += 1
                continue
            frame = done.frames[outcomes[place].shot]
            distances.append(frame.distance_mm)
            seconds.append(frame.captured_at - done.frames[0].captured_at)
        if not distances and not never:
            return None
        if not distances:
            return FirstSeen(sheet, guard, never, never, None, None, None, None)
        low, middle, high = (float(v) for v in np.percentile(distances, [25, 50, 75]))
        return FirstSeen(
            sheet, guard, len(distances) + never, never, middle, float(np.median(seconds)), low, high
        )  # fmt: skip
