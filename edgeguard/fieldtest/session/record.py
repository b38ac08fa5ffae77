"""Recording: frames from a source, judged by the guide, kept by the session, told to whoever listens."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.source import Captured, Lost, Source, Unchanged
from edgeguard.errors import JpegError
from edgeguard.fieldtest.session.guide import Advice, Guide, Observation, Situation, observe
from edgeguard.fieldtest.session.place import corners_from_tags
from edgeguard.fieldtest.session.plan import Cell, Plan
from edgeguard.fieldtest.session.reach import too_far_notes
from edgeguard.fieldtest.session.session import LiveOutcome, Pass, Session
from edgeguard.pipeline import Pipeline


@dataclass
class Status:
    """What the operator sees, on the terminal and on the web page; safe to read from another thread.

    Attributes:
        light: the light that the operator says is on.
        advice, observation: of the last frame.
        done, wanted: passes.
        lost: damaged frames.
        jpeg: the last frame.
    """

    light: str
    done: int
    wanted: int
    advice: Advice = field(default_factory=lambda: Advice(Situation.EMPTY))
    observation: Observation = field(default_factory=lambda: Observation(Situation.EMPTY))
    next_wanted: tuple[int, Cell] | None = None
    lost: int = 0
    jpeg: bytes = b""
    lock: Lock = field(default_factory=Lock)


def missing_lines(session: Session, unusable: Mapping[str, int]) -> list[str]:
    """Where passes are missing, and what stood in the way most often; nothing where the plan is complete.

    Args:
        session: with a plan.
        unusable: frames by what was said of them, of those that showed something and could not be recorded.
    """
    places: Counter[float] = Counter()
    for (_, cell), count in session.missing().items():
        places[cell.distance_mm] += count
    if not places:
        return []
    where = ", ".join(f"{count} at {distance:g} mm" for distance, count in sorted(places.items()))
    lines = [f"missing: {where}; run it again to go on"]
    if unusable:
        said, frames = max(unusable.items(), key=lambda item: item[1])
        lines.append(f"of {frames} frames it said: {said}")
    return [*lines, *too_far_notes(replace(session.plan, distances_mm=tuple(sorted(places))))]


FrameEvaluation = Callable[[Captured], LiveOutcome | None]


@dataclass(frozen=True, eq=False)
class _Held:
    """A frame that belongs to the pass that is being recorded."""

    captured: Captured
    seen: Observation
    live: LiveOutcome | None
    size: tuple[int, int]


def live_evaluation(pipeline: Pipeline) -> FrameEvaluation:
    """The live arm: what this pipeline says of each frame at the moment it is recorded."""
    guard = pipeline.model.contract.guard
    words = [] if guard.profile is None else [f"{guard.profile.name} {guard.profile.sha256[:12]}"]
    named = " + ".join([*words, *([guard.patch] if guard.patch else [])]) or "none"

    def evaluate_frame(captured: Captured) -> LiveOutcome | None:
        try:
            found = pipeline.evaluate_frame(captured)
        except JpegError:
            return None
        ms = found.decode_ms + found.sanitize_ms + found.infer_ms
        index = found.prediction.index
        if index is None:
            return None
        return LiveOutcome(
            found.model, named, index, found.prediction.score or 0.0, bool(found.patch_alarm), found.pass1, round(ms, 3)
        )

    return evaluate_frame


def _no_evaluation(captured: Captured) -> None:
    return None


def record(
    session: Session,
    source: Source,
    status: Status,
    say: Callable[[Advice, Pass | None], None],
    evaluate_frame: FrameEvaluation = _no_evaluation,
) -> None:
    """Record until the plan is complete or the source ends.

    Args:
        session: what is recorded is stored there.
        source: a camera, or a virtual field.
        status: its light may be changed by another thread.
        say: called with each frame's advice, and the pass when one was stored.
        evaluate_frame: what a running defence says of each frame that is kept (`live_evaluation`).

    Raises:
        DeviceError: the camera or the disk is lost; what was stored stays.
    """
    guide = Guide(session.plan, session.missing())
    held: list[_Held] = []
    for captured, rgb in _decoded(source, status):
        seen = observe(rgb, session.plan)
        advice = guide.step(seen, status.light)
        if advice.held <= 1:
            held = []
        if advice.held:
            held.append(_Held(captured, seen, evaluate_frame(captured), (rgb.shape[1], rgb.shape[0])))
        stored = None
        if advice.finished and advice.sheet is not None:
            poses = [_pose(one, advice.cell, session.plan) for one in held]
            stored = session.store(advice.sheet, advice.cell, [one.captured for one in held], poses)
            held = []
        with status.lock:
            status.advice, status.observation = advice, seen
            status.done = status.wanted - sum(guide.missing.values())
            status.next_wanted = guide.next_wanted(status.light)
            status.jpeg = captured.jpeg or b""
        say(advice, stored)
        if status.next_wanted is None:
            return


def record_drive_by(
    session: Session,
    source: Source,
    status: Status,
    say: Callable[[Advice, Pass | None], None],
    evaluate_frame: FrameEvaluation = _no_evaluation,
) -> None:
    """Record one approach of one sheet as one pass, each frame binned where it falls; the whole source is the pass.

    Frames without a pose are left out.
    """
    held: list[_Held] = []
    for captured, rgb in _decoded(source, status):
        seen = observe(rgb, session.plan)
        if seen.situation is Situation.HOLD and seen.pose is not None:
            if held and held[0].seen.sheet != seen.sheet:
                continue
            held.append(_Held(captured, seen, evaluate_frame(captured), (rgb.shape[1], rgb.shape[0])))
        say(Advice(seen.situation, seen.sheet, None, len(held)), None)
    if not held:
        return
    plan, sheet = session.plan, held[0].seen.sheet
    assert sheet is not None
    cells = [
        plan.nearest_cell(pose.distance_mm, pose.angle_deg, status.light)
        for one in held
        if (pose := one.seen.pose) is not None
    ]
    poses = [_pose(one, cell, plan) for one, cell in zip(held, cells, strict=True)]
    stored = session.store(sheet, None, [one.captured for one in held], poses)
    say(Advice(Situation.HOLD, sheet, None, len(held), finished=True), stored)


def _decoded(source: Source, status: Status) -> Iterator[tuple[Captured, NDArray[np.uint8]]]:
    for item in _latest(source):
        if isinstance(item, Lost):
            status.lost += 1
            continue
        try:
            yield item, item.decode()
        except JpegError:
            status.lost += 1


def _latest(source: Source) -> Iterator[Captured | Lost]:
    """Frames of a live source as they come, stale ones dropped; all frames of a file."""
    if not source.live:
        yield from (item for item in source.frames() if not isinstance(item, Unchanged))
        return
    from edgeguard.camera.reader import FrameReader

    with FrameReader(source, lambda captured: captured) as reader:
        yield from reader


def _pose(held: _Held, cell: Cell | None, plan: Plan) -> dict[str, Any]:
    seen = held.seen
    assert seen.pose is not None
    pose = asdict(seen.pose)
    kept = {key: pose[key] for key in ("distance_mm", "angle_deg", "angle_error_deg")}
    sheet = None if seen.sheet is None else plan.sheet(seen.sheet)
    corners = None if sheet is None or seen.found is None else corners_from_tags(seen.found, sheet, plan.print_scale)
    return {
        **kept,
        "tags": seen.tags,
        "cell": cell,
        "live": held.live,
        "corners": corners,
        "pose_from": "tags",
        "size": held.size,
    }
