"""What a scored session says: eligible frames, success by bin, costs, paired comparisons, and what cannot be said."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.comparison import Comparison
from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.detections import NOTHING
from edgeguard.fieldtest.analysis.eligible_cells import eligible_notes
from edgeguard.fieldtest.analysis.image_places import by_place
from edgeguard.fieldtest.analysis.limits import detector_notes, memory_notes
from edgeguard.fieldtest.analysis.memory import MemoryFindings, memory_findings
from edgeguard.fieldtest.analysis.paired import Difference, paired_difference
from edgeguard.fieldtest.analysis.score import LIVE, OFF, Outcome, Scores, contradiction
from edgeguard.fieldtest.analysis.success import has_its_way
from edgeguard.fieldtest.guards import CONTRACT
from edgeguard.fieldtest.session.controls import control_notes, controls_of
from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.session.session import Pass, Session
from edgeguard.fieldtest.sheets.sheet import Sheet

_BIN_MOSTLY_RIGHT = 0.5
K = TypeVar("K")


@dataclass(frozen=True)
class ArmResult:
    """One sheet behind one guard.

    Attributes:
        targeted: successes of a patch with a target on eligible frames (hits 0 where the arm has none).
        untargeted: any wrong label on eligible frames, and no alarm.
        passes: passes of which more than half of the eligible frames were a success.
        alarms: frames with an alarm, of all.
        by_distance, by_angle, by_light, by_cell: successes of eligible frames.
        vanished, mislabeled: of a detector, eligible frames in which nothing lies on the object, or only a box of
            another class; None for classifiers.
        by_place: successes of eligible frames by column and row of the object in the image (`image_places`).
    """

    sheet: Sheet
    guard: str
    targeted: Counted
    untargeted: Counted
    passes: Counted
    alarms: Counted
    by_distance: dict[float, Counted]
    by_angle: dict[float, Counted]
    by_light: dict[str, Counted]
    by_cell: dict[Cell, Counted]
    vanished: Counted | None = None
    mislabeled: Counted | None = None
    by_place: dict[tuple[int, int], Counted] = field(default_factory=dict)


@dataclass(frozen=True)
class GuardCost:
    """What a guard costs on clean frames, and in time.

    Attributes:
        guard: as named by the user.
        clean: clean frames that are right behind it, without an alarm.
        change: of that share against no guard, over passes; None for `off`.
        ms_p50, ms_p95: from the stored bytes to the label, milliseconds.
        camera_coded: frames that came coded with the guard's own tables.
    """

    guard: str
    clean: Counted
    change: Difference | None
    ms_p50: float
    ms_p95: float
    camera_coded: int


@dataclass(frozen=True)
class Findings:
    """Everything that a report shows.

    Attributes:
        plan, scores: that it was found from.
        arms: a result for each sheet and guard.
        costs: of each guard.
        comparisons: patches against controls, and guards against none; those with a memory come last.
        notes: what limits the answers.
        memory: passes as a system that remembers sees them.
    """

    plan: Plan
    scores: Scores
    arms: tuple[ArmResult, ...]
    costs: tuple[GuardCost, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    memory: MemoryFindings


def findings(session: Session, scores: Scores) -> Findings:
    """Evaluate a scored session.

    Raises:
        InputError: the session was not scored with guards off, a label is not the model's, or the scores name frames
            that it does not have.
    """
    if (wrong := contradiction(scores, session)) is not None:
        raise InputError(f"the scores of {session.folder} do not fit its passes ({wrong}): score again")
    if OFF not in scores.guards:
        raise InputError("score with the guard off as well: without it no frame can be called eligible")
    creates = scores.task == "detect" and any(sheet.mode == "create" for sheet in session.plan.sheets)
    if creates and any(one.apart is None for one in scores.outcomes):
        raise InputError("these scores do not say what was found beside the object, where a patch creates: score again")
    table = _Table(session, scores)
    arms = tuple(table.arm(sheet, guard) for sheet in session.plan.sheets for guard in scores.guards)
    costs = tuple(table.cost(guard) for guard in scores.guards)
    memory = memory_findings(session, scores)
    comparisons = (*table.comparisons(), *(Comparison(what, one) for what, one in memory.beats))
    notes = (*table.notes(), *detector_notes(session, scores), *memory_notes(memory))
    return Findings(session.plan, scores, arms, costs, comparisons, notes, memory)


class _Table:
    """Outcomes by pass, with eligibility."""

    def __init__(self, session: Session, scores: Scores) -> None:
        self.session, self.plan, self.scores = session, session.plan, scores
        self.by_pass: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
        for outcome in scores.outcomes:
            self.by_pass[outcome.number, outcome.guard].append(outcome)
        self.truth = {sheet.number: self._index(sheet.label) for sheet in self.plan.sheets}
        self.target = {s.number: None if s.target is None else self._index(s.target) for s in self.plan.sheets}
        self._clean_right = self._right_when_clean()

    def _index(self, label: str) -> int:
        if label not in self.scores.labels:
            raise InputError(f"the model that scored has no label {label!r}")
        return self.scores.labels.index(label)

    def _sheet(self, done: Pass) -> Sheet:
        sheet = self.plan.sheet(done.sheet)
        assert sheet is not None
        return sheet

    def _right_when_clean(self) -> dict[object, bool]:
        """Eligibility keys: (object, cell, repeat, shot) of placements, (object, cell) of drive-bys and imports."""
        right: dict[object, bool] = {}
        bins: dict[object, list[bool]] = defaultdict(list)
        for done in self.session.passes:
            sheet = self._sheet(done)
            if sheet.arm != "clean":
                continue
            for outcome in self.by_pass[done.number, OFF]:
                good = outcome.index == self.truth[sheet.number]
                if _is_placement(done):
                    right[sheet.object, done.cell, done.repeat, outcome.shot] = good
                bins[sheet.object, done.frames[outcome.shot].cell].append(good)
        right.update({key: sum(values) > _BIN_MOSTLY_RIGHT * len(values) for key, values in bins.items()})
        return right

    def eligible(self, done: Pass, outcome: Outcome) -> bool:
        """True where the model was right about the clean object in the same placement, without a guard."""
        name = self._sheet(done).object
        if _is_placement(done):
            return self._clean_right.get((name, done.cell, done.repeat, outcome.shot), False)
        return self._clean_right.get((name, done.frames[outcome.shot].cell), False)

    def hit(self, done: Pass, outcome: Outcome) -> bool:
        """The sheet's patch had its way, by its own goal; of the other arms, any wrong answer."""
        return self.goal(self._sheet(done))(done, outcome)

    def goal(self, sheet: Sheet) -> Callable[[Pass, Outcome], bool]:
        """What counts as a success of a sheet's patch, on frames of any arm."""
        target = self.target[sheet.number]
        return lambda done, outcome: has_its_way(outcome, self.truth[done.sheet], target, sheet.mode)

    def passes(self, sheet: Sheet) -> list[Pass]:
        return [done for done in self.session.passes if done.sheet == sheet.number]

    def share(self, done: Pass, guard: str, judge: Callable[[Pass, Outcome], bool]) -> float | None:
        """The share of a pass's eligible frames that `judge` is true for; None without eligible frames."""
        found = [judge(done, o) for o in self.by_pass[done.number, guard] if self.eligible(done, o)]
        return sum(found) / len(found) if found else None

    def arm(self, sheet: Sheet, guard: str) -> ArmResult:
        frames = [
            (done, outcome, done.frames[outcome.shot].cell)
            for done in self.passes(sheet)
            for outcome in self.by_pass[done.number, guard]
        ]
        eligible = [(done, outcome, cell) for done, outcome, cell in frames if self.eligible(done, outcome)]
        truth, has_target = self.truth[sheet.number], self.target[sheet.number] is not None

        def counted(key: Callable[[Cell], K]) -> dict[K, Counted]:
            bins: dict[K, list[bool]] = defaultdict(list)
            for done, outcome, cell in eligible:
                bins[key(cell)].append(self.hit(done, outcome))
            return {k: Counted(sum(v), len(v)) for k, v in sorted(bins.items(), key=lambda item: str(item[0]))}

        shares = [s for done in self.passes(sheet) if (s := self.share(done, guard, self.hit)) is not None]
        return ArmResult(
            sheet, guard,
            targeted=Counted(sum(has_target and self.hit(done, o) for done, o, _ in eligible), len(eligible)),
            untargeted=Counted(sum(not o.alarm and o.index != truth for _, o, _ in eligible), len(eligible)),
            passes=Counted(sum(s > 0.5 for s in shares), len(shares)),
            alarms=Counted(sum(o.alarm for _, o, _ in frames), len(frames)),
            by_distance=counted(lambda cell: cell.distance_mm),
            by_angle=counted(lambda cell: cell.angle_deg),
            by_light=counted(lambda cell: cell.light),
            by_cell=counted(lambda cell: cell),
            by_place=by_place((done.frames[o.shot], self.hit(done, o)) for done, o, _ in eligible),
            **self._of_a_detector(eligible, truth),
        )  # fmt: skip

    def _of_a_detector(self, eligible: Sequence[tuple[Pass, Outcome, Cell]], truth: int) -> dict[str, Counted]:
        if self.scores.task != "detect":
            return {}
        said = [o.index for _, o, _ in eligible if not o.alarm]
        vanished = sum(index == NOTHING for index in said)
        mislabeled = sum(index not in (NOTHING, truth) for index in said)
        n = len(eligible)
        return {"vanished": Counted(vanished, n), "mislabeled": Counted(mislabeled, n)}

    def cost(self, guard: str) -> GuardCost:
        clean = [done for sheet in self.plan.sheets if sheet.arm == "clean" for done in self.passes(sheet)]
        outcomes = [(done, o) for done in clean for o in self.by_pass[done.number, guard]]
        right = sum(self._right(done, o) for done, o in outcomes)
        pairs = [
            (self._clean_share(done, guard), self._clean_share(done, OFF)) for done in clean
            if self.by_pass[done.number, guard] and self.by_pass[done.number, OFF]
        ]  # fmt: skip
        change = None if guard == OFF else paired_difference(*_columns(pairs))
        times = [o.ms for o in self.scores.outcomes if o.guard == guard] or [0.0]
        coded = sum(o.pass1 != "none" for o in self.scores.outcomes if o.guard == guard)
        p50, p95 = (float(v) for v in np.percentile(times, [50, 95]))
        return GuardCost(guard, Counted(right, len(outcomes)), change, p50, p95, coded)

    def _right(self, done: Pass, outcome: Outcome) -> bool:
        return outcome.index == self.truth[done.sheet] and not outcome.alarm

    def _clean_share(self, done: Pass, guard: str) -> float:
        found = [self._right(done, o) for o in self.by_pass[done.number, guard]]
        return sum(found) / len(found)

    def comparisons(self) -> Iterable[Comparison]:
        for sheet in self.plan.sheets:
            if sheet.arm != "patch":
                continue
            what = f"{sheet.object}: {_named(sheet)}"
            for guard in self.scores.guards:
                for control in controls_of(sheet, self.plan.sheets):
                    pairs = self._matched(sheet, control, guard)
                    patches, others = _columns(pairs)
                    if (found := paired_difference(patches, others)) is not None:
                        question = f"{what}: does it beat the {control.arm} control, guard {guard}?"
                        yield Comparison(question, found, (control.arm, float(others.mean())))
            for guard in self.scores.guards:
                if guard == OFF:
                    continue
                pairs = [
                    (on, off) for done in self.passes(sheet)
                    if (on := self.share(done, guard, self.hit)) is not None
                    and (off := self.share(done, OFF, self.hit)) is not None
                ]  # fmt: skip
                if (found := paired_difference(*_columns(pairs))) is not None:
                    yield Comparison(f"{what}: does guard {guard} change its success?", found)

    def _matched(self, sheet: Sheet, control: Sheet, guard: str) -> list[tuple[float, float]]:
        """Success of the patch and of a control in the same cell and repeat, by the patch's own goal."""
        goal = self.goal(sheet)
        others = {(done.cell, done.repeat): done for done in self.passes(control)}
        pairs = []
        for done in self.passes(sheet):
            other = others.get((done.cell, done.repeat))
            if other is None:
                continue
            a, b = self.share(done, guard, goal), self.share(other, guard, goal)
            if a is not None and b is not None:
                pairs.append((a, b))
        return pairs

    def _not_eligible(self) -> Iterable[str]:
        return eligible_notes(
            [
                (done.frames[o.shot].cell, self.eligible(done, o))
                for done in self.session.passes for o in self.by_pass[done.number, OFF]
            ],
            self.scores.task,
        )  # fmt: skip

    def notes(self) -> Iterable[str]:
        """What limits the answer."""
        yield from control_notes(self.plan.sheets)
        yield from self._missing()
        yield from self._not_eligible()
        planned = len(self.plan.cells()) * self.plan.passes
        for sheet in self.plan.sheets:
            shares = [s for done in self.passes(sheet) if (s := self.share(done, OFF, self.hit)) is not None]
            if sheet.arm == "patch" and len(shares) < planned:
                low, high = Counted(len(shares) // 2, len(shares)).interval
                yield (
                    f"{sheet.object}, {_named(sheet)}: {len(shares)} passes with eligible frames, {planned} were "
                    f"planned; a rate near one half is known within {100 * (high - low):.0f} points only."
                )
        if self.plan.model_sha256 not in (None, self.scores.model_sha256):
            yield "Scored with another model than the one that was planned for."
        for sheet in self.plan.sheets:
            if sheet.model_sha256 not in (None, self.scores.model_sha256):
                yield f"{_named(sheet)} was made for another model: this is a transfer test."
        adaptive = {sheet.through_guard for sheet in self.plan.sheets if sheet.arm == "patch"}
        for guard in self.scores.guards:
            if guard != OFF and not any(name and guard in name.split() for name in adaptive):
                yield f"Guard {guard}: non-adaptive only. No patch of this session was made through it."
        for guard in self.scores.guards:
            change = self.cost(guard).change
            if change is not None and change.shown and change.mean <= -0.05:
                yield (
                    f"Guard {guard} costs {-100 * change.mean:.0f} points on clean frames: part of what it takes "
                    "from the patch it takes from the object. The sheet's tags are busy, too, and may set it off."
                )
        yield from self._live()
        if self.scores.unreadable:
            yield f"{len(self.scores.unreadable)} stored frames could not be read: {self.scores.unreadable[0]}"

    def _live(self) -> Iterable[str]:
        """How the live arm and its replay compare."""
        frames = [(done, shot, frame) for done in self.session.passes for shot, frame in enumerate(done.frames)]
        ran = {frame.live.guard for _, _, frame in frames if frame.live is not None}
        if LIVE not in self.scores.guards or not ran:
            return
        said = f"The live arm ran while recording, behind {', '.join(sorted(ran))}"
        replayed = {(o.number, o.shot): o.index for o in self.scores.outcomes if o.guard == CONTRACT}
        both = [
            (frame.live.index, replayed[done.number, shot]) for done, shot, frame in frames
            if frame.live is not None and (done.number, shot) in replayed
        ]  # fmt: skip
        differing = sum(live != replay for live, replay in both)
        yield f"{said}; the replay through the contract's guard says otherwise on {differing} of {len(both)} frames."

    def _missing(self) -> Iterable[str]:
        placed = [done for done in self.session.passes if done.cell is not None]
        if not placed:
            return
        for cell in self.plan.cells():
            absent = [
                f"{s.object} {_named(s)}" for s in self.plan.sheets
                if not any(done.sheet == s.number and done.cell == cell for done in placed)
            ]  # fmt: skip
            if absent:
                where = f"{cell.distance_mm:g} mm, {cell.angle_deg:g} degrees, {cell.light}"
                yield f"At {where} nothing was recorded of {', '.join(absent)}: what needs it there is left out."


def _is_placement(done: Pass) -> bool:
    """The clean object stood in the very same place, frame by frame: not in films, nor in photographs of a phone."""
    return done.cell is not None and done.frames[0].origin is None


def _named(sheet: Sheet) -> str:
    if sheet.arm != "patch":
        return sheet.arm
    through = f" through {sheet.through_guard.split()[0]}" if sheet.through_guard else ""
    return f"patch -> {sheet.aim}{through}"


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
