"""Why a patch fails: how much of its digital strength each step takes, on the frames that were recorded."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.analysis.detections import APART, MATCH
from edgeguard.fieldtest.analysis.score import OFF, path_behind
from edgeguard.fieldtest.analysis.why_files import GUARD_STEP, STEPS, Strength, Why, write_why
from edgeguard.fieldtest.analysis.why_frames import (
    BLURS,
    ColorMap,
    Conditions,
    FieldFrame,
    color_pairs,
    fitted_colors,
    measured,
)
from edgeguard.fieldtest.session.place import Corners, corners_from_tags, size_mm, true_box
from edgeguard.fieldtest.session.session import FrameRecord, Session
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import find_sheets
from edgeguard.model import Model
from edgeguard.model.contract import Detection
from edgeguard.model.prediction import BoxScore, softmax
from edgeguard.scene.outlines import Box
from edgeguard.watch.tracker import overlaps

_FRAMES, _LARGE_FRAMES, _LARGE_PIXELS = 40, 16, 4_000_000
_SIZES = (0.12, 0.18, 0.27, 0.4, 0.6)  # of the frame's shorter side, at which the digital patch is tried
_TRIED = 8  # frames, for the best size
_LEAST_SCORE = 1e-4


def why_it_fails(
    session: Session,
    model: Model,
    pictures: Mapping[int, Picture],
    guards: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Why, ...]:
    """Take apart every patch of a session whose pictures are known; writes `why.json` into its folder.

    Args:
        session: recorded.
        model: that is asked.
        pictures: by number of the sheet: the object with what lies on it, as it was printed.
        guards: that were scored; the first that is not `off` is the last step.
        progress: renderings done, of all; once before the first.
    """
    patches = [
        s for s in session.plan.sheets if s.arm == "patch" and s.number in pictures and _clean(session, s, pictures)
    ]
    guard = next((g for g in guards if g not in (OFF, "live", "double-masking")), None)
    jobs = []
    for sheet in patches:
        clean = _clean(session, sheet, pictures)
        assert clean is not None
        if frames := _frames(session, sheet):
            jobs.append((_Job(model, sheet, pictures[sheet.number], pictures[clean.number], guard), frames))
    units = _Units(progress, sum(job.units(len(frames)) for job, frames in jobs))
    found = [job.run(frames, units.done) for job, frames in jobs]
    write_why(session.folder, found)
    return tuple(found)


def _clean(session: Session, sheet: Sheet, pictures: Mapping[int, Picture]) -> Sheet | None:
    return next(
        (s for s in session.plan.sheets if s.arm == "clean" and s.object == sheet.object and s.number in pictures), None
    )


def _frames(session: Session, sheet: Sheet) -> list[tuple[FieldFrame, FrameRecord]]:
    """Frames of a sheet, evenly over its passes."""
    each = [frame for done in session.passes if done.sheet == sheet.number for frame in done.frames]
    found: list[tuple[FieldFrame, FrameRecord]] = []
    most = _FRAMES
    for record in _evenly(each, most):
        try:
            data = session.read_frame(record)
            rgb = decode_whole(data)
        except (InputError, JpegError):
            continue  # the score counts and names frames that cannot be read
        if rgb.shape[0] * rgb.shape[1] > _LARGE_PIXELS and len(found) >= _LARGE_FRAMES:
            break
        corners = record.corners if record.pose_from != "size" else None
        if record.corners is None:
            tags = next((one for one in find_sheets(rgb) if one.number == sheet.number), None)
            corners = None if tags is None else corners_from_tags(tags, sheet, session.plan.print_scale)
        if corners is None:
            continue
        width = rgb.shape[1]
        focal = record.focal_px or width / 2 / math.tan(math.radians(session.plan.field_of_view_deg) / 2)
        printed = session.plan.print_scale if sheet.mount == "sheet" else 1.0
        scale = printed * focal / record.distance_mm
        found.append((FieldFrame(rgb, data, sheet, corners, scale, record.cell.light), record))
    return found


def _evenly(each: Sequence[FrameRecord], most: int) -> list[FrameRecord]:
    if len(each) <= most:
        return list(each)
    return [each[int(k)] for k in np.linspace(0, len(each) - 1, most)]


class _Units:
    """Counts renderings, of which all take about as long."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._count = progress, total, 0
        self.done(0)

    def done(self, more: int) -> None:
        """So many more are done."""
        self._count += more
        self._progress(self._count, self._total)


@dataclass(frozen=True)
class _Said:
    """Of one rendering: whether it is right, a success of the patch, and scores of truth and of what it wants."""

    right: bool
    success: bool
    truth: float
    wanted: float


class _Job:
    """One patch of one session."""

    def __init__(self, model: Model, sheet: Sheet, patch: Picture, clean: Picture, guard: str | None) -> None:
        self.model, self.sheet, self.patch, self.clean, self.guard = model, sheet, patch, clean, guard
        labels = model.contract.labels
        self.truth = labels.index(sheet.label)
        self.target = None if sheet.target is None else labels.index(sheet.target)
        self.wants_something = sheet.target is not None or sheet.mode in ("mislabel", "create")
        detection = replace(model.contract.detection or Detection(), score_threshold=_LEAST_SCORE)
        self.detects = model.contract.task == "detect"
        self.threshold = (model.contract.detection or Detection()).score_threshold
        self.all = model.with_contract(replace(model.contract, detection=detection)) if self.detects else model
        self.paths = {name: path_behind(model, name) for name in {OFF, guard or OFF}}

        #: The steps that are on, one more from rung to rung.
        self.rungs = [(), *(STEPS[: k + 1] for k in range(len(STEPS)) if STEPS[k] != GUARD_STEP or guard is not None)]

    def units(self, frames: int) -> int:
        """Renderings that `run` makes of so many frames: with the patch and without it, but for those that measure."""
        return frames * len(BLURS) + 2 * min(frames, _TRIED) * len(_SIZES) + 2 * frames * len(self.rungs)

    def run(self, frames: list[tuple[FieldFrame, FrameRecord]], done: Callable[[int], None]) -> Why:
        """Measure each frame, then switch the steps on one by one; `done` is told how many renderings more."""
        each = self._measured([frame for frame, _ in frames], done)
        best = self._best_size(each, done)
        each = [replace(one, best_px=best) for one in each]
        ladder = [self._strength(each, steps, done) for steps in self.rungs]
        records = [record for _, record in frames]
        wide, high = size_mm(self.sheet)
        sides = [frame.pixels_per_mm * math.sqrt(wide * high) for frame, _ in frames]
        return Why(
            self.sheet.number, self.guard, len(each), round(best, 1), tuple(ladder), self._field(each),
            round(float(np.median([one.sigma for one in each])), 2), round(float(np.median(sides)), 1),
            round(float(np.median([record.angle_deg for record in records])), 1),
        )  # fmt: skip

    def _measured(self, frames: list[FieldFrame], done: Callable[[int], None]) -> list[Conditions]:
        """First each frame alone, for its blur; then one color map for all frames of a light."""
        alone = []
        for frame in frames:
            alone.append(measured(frame, self.patch, None, 0.0))
            done(len(BLURS))
        maps: dict[str, ColorMap] = {}
        for light in {frame.light for frame in frames}:
            pairs = [color_pairs(c.frame, self.patch, c.sigma) for c in alone if c.frame.light == light]
            maps[light] = fitted_colors(np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs]))
        return [replace(one, colors=maps[one.frame.light]) for one in alone]

    def _best_size(self, each: list[Conditions], done: Callable[[int], None]) -> float:
        tried = each[:: max(len(each) // _TRIED, 1)][:_TRIED]
        sides = [share * min(tried[0].frame.rgb.shape[:2]) for share in _SIZES]
        strengths = [self._strength([replace(one, best_px=side) for one in tried], (), done) for side in sides]
        order = max(range(len(sides)), key=lambda k: (strengths[k].success, strengths[k].push))
        return sides[order]

    def _strength(self, each: Sequence[Conditions], steps: tuple[str, ...], done: Callable[[int], None]) -> Strength:
        guard = self.guard if GUARD_STEP in steps and self.guard is not None else OFF
        success, clean, push = 0, 0, 0.0
        for one in each:
            without = self._said(*one.rendered(self.clean, steps), guard)
            patched = self._said(*one.rendered(self.patch, steps), guard)
            clean += without.right
            success += without.right and patched.success and not without.success
            gained = patched.wanted - without.wanted if self.wants_something else without.truth - patched.truth
            push += gained
            done(2)
        return Strength(steps, success / len(each), clean / len(each), push / len(each))

    def _field(self, each: Sequence[Conditions]) -> float | None:
        said = [self._said(one.frame.rgb, one.frame.corners, OFF) for one in each]
        return sum(one.success for one in said) / len(said) if said else None

    def _said(self, rgb: Picture, corners: Corners, guard: str) -> _Said:
        path = self.paths[guard]
        prepared = path(path.arrive(rgb))
        alarm = prepared.guarded is not None and prepared.guarded.alarm
        if not self.detects:
            outputs = self.model.infer(prepared.tensor)
            shares = softmax(outputs) if self.model.contract.outputs == "logits" else outputs
            index = int(outputs.argmax())
            target = float(shares[self.target]) if self.target is not None else 0.0
            won = index == self.target if self.target is not None else index != self.truth
            return _Said(index == self.truth and not alarm, won and not alarm, float(shares[self.truth]), target)
        boxes = self.all.read(self.model.run(prepared.tensor), *prepared.size).boxes or ()
        return self._detected(boxes, true_box(corners, self.sheet, "corners", *prepared.size), alarm)

    def _detected(self, boxes: Sequence[BoxScore], truth: Box | None, alarm: bool) -> _Said:
        on_it, apart = dict[int, float](), dict[int, float]()
        if truth is not None and boxes:
            sides = np.array([[b.x1, b.y1, b.x2, b.y2] for b in boxes], np.float64)
            shares = overlaps(sides, np.array([truth], np.float64))[:, 0]
            for box, share in zip(boxes, shares, strict=True):
                place = on_it if share >= MATCH else apart if share < APART else {}
                place[box.index] = max(place.get(box.index, 0.0), box.score)
        own = on_it.pop(self.truth, 0.0)
        sought = apart if self.sheet.mode == "create" else on_it
        wanted = max(sought.values(), default=0.0) if self.target is None else sought.get(self.target, 0.0)
        right, won = own >= self.threshold, wanted >= self.threshold or not self.wants_something
        if self.sheet.mode != "create":
            won = won and own < self.threshold
        return _Said(right and not alarm, won and not alarm, own, wanted)
