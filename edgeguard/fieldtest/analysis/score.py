"""Scoring: every stored frame through each guard and the model, in all cores; one line of JSON each."""

import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from edgeguard.dct.profile import resolve_profile
from edgeguard.errors import CheckFailed, DeviceError, InputError, JpegError, ProfileError
from edgeguard.fieldtest.analysis.detections import MOST_BOXES, NOTHING, Box, judged_box, kept_boxes, object_box
from edgeguard.fieldtest.guards import CONTRACT, named_guard
from edgeguard.fieldtest.session.plan import Plan, read_plan
from edgeguard.fieldtest.session.session import FrameRecord, Session, read_stored
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.model import Model, load_model
from edgeguard.model.contract import ContractGuard, require_classifier, require_pixels
from edgeguard.model.input_path import InputPath
from edgeguard.model.prediction import label_of
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard.patchguard.double_masking import DoubleMasking, MaskSet
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_regular
from edgeguard.system.workers import single_thread_opencv, worker_pool

SCHEMA = 1
OFF, DOUBLE_MASKING, LIVE = "off", "double-masking", "live"
_LARGEST = 256 << 20  # bytes of scores.jsonl
_LONGEST_HEAD, _LONGEST_LINE = 16 << 20, 1 << 16  # bytes; a longer line is cut, and then no JSON
_MOST_OF_OTHERS = 20_000  # outcomes of passes that the journal lost
_MOST_APART = 1000  # boxes
_PATCH_SHARE = 0.02  # of the input's area, that double masking is set up for


@dataclass(frozen=True)
class Outcome:
    """What the model said of one stored frame behind one guard.

    Attributes:
        number, shot: of the pass and of its frame.
        guard: as named by the user.
        index: raw output index; of a detector the class of the box on the object, its own before any other, and
            `NOTHING` where no box lies on it.
        score: of that class.
        alarm: the guard says that a patch is there.
        pass1: who coded the frame with the guard's profile (`camera`, `sensor`), or `none`.
        ms: from the stored bytes to the label, one core.
        boxes: of a detector, else None: class, score, x1, y1, x2, y2 in the frame's pixels, best first.
        elsewhere: of a detector: boxes of the object's class that do not lie on it.
        apart: of a detector: classes of the boxes that lie nowhere near the object; None in scores of earlier versions.
    """

    number: int
    shot: int
    guard: str
    index: int
    score: float
    alarm: bool
    pass1: str
    ms: float
    boxes: tuple[Box, ...] | None = None
    elsewhere: int | None = None
    apart: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Scores:
    """All outcomes of a session, and what they were made with.

    Attributes:
        task: of the model, `classify` or `detect`.
        memory: frames in a row after which a system remembers an object; None where that was not wanted.
    """

    session: str
    model_sha256: str
    labels: tuple[str, ...]
    guards: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    unreadable: tuple[str, ...] = ()
    task: str = "classify"
    memory: int | None = None

    def said(self, index: int) -> str:
        """What an outcome's index means, in words."""
        return "nothing" if index < 0 else label_of(index, self.labels)


def score(
    folder: Path,
    model: Path,
    guards: Sequence[str],
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    memory: int | None = None,
) -> Scores:
    """Replay a session through guards; writes `scores.jsonl` into its folder.

    Args:
        folder: the session's.
        model: a .tflite classifier or detector with a contract.
        guards: `off`, `contract`, profiles (names or .toml), patch guards, `double-masking`; `live` is not replayed:
            it is what the defence said while it was recorded, where it ran (`record --model`).
        workers: processes; one for each core by default.
        progress: frames done, of all.
        memory: see `Scores`.

    Raises:
        InputError: no passes, an unknown guard, or a model that is neither a classifier nor a detector.
        CheckFailed: no stored frame can be used; nothing was written.
    """
    session = Session(folder)
    deployed = load_model(model)
    check_scorable(deployed, model, session.plan.sheets)
    for guard in guards:
        _check_guard(guard, deployed)
    if not session.passes:
        raise InputError(f"{folder} holds no passes: edgeguard fieldtest record")
    if LIVE in guards:
        _check_live(session, deployed)
    jobs = [
        _Job(done.number, shot, done.sheet, frame) for done in session.passes for shot, frame in enumerate(done.frames)
    ]
    progress(0, len(jobs))
    outcomes: list[Outcome] = []
    unreadable: list[str] = []
    run = partial(_frame, str(folder), str(model), tuple(guards))
    try:
        with worker_pool(workers, single_thread_opencv) as pool:
            for done, (found, said) in enumerate(pool.map(run, jobs, chunksize=8), start=1):
                outcomes += found
                unreadable += said
                progress(done, len(jobs))
    except BrokenProcessPool as error:
        raise DeviceError("a scoring process was killed (out of memory?): try --workers 1") from error
    if not outcomes:
        why = unreadable[0] if unreadable else "none of them has a live answer"
        raise CheckFailed(f"nothing was scored: of {len(jobs)} stored frames none can be used ({why})")
    scores = Scores(
        session.plan.session,
        deployed.sha256,
        deployed.contract.labels,
        tuple(guards),
        tuple(outcomes),
        tuple(unreadable),
        deployed.contract.task,
        memory,
    )
    write_scores(folder / "scores.jsonl", scores)
    return scores


def check_scorable(deployed: Model, path: Path, sheets: Sequence[Sheet]) -> None:
    """Refuse a model that a field test cannot be scored with: before the plan is made, and again before it is scored.

    Args:
        deployed: the model.
        path: of it, for messages.
        sheets: of the plan.

    Raises:
        InputError: no classifier or detector of pixels, a guard that cannot be switched off, or a label of a sheet
            that it lacks.
    """
    if deployed.contract.task != "detect":
        require_classifier(deployed.contract, f"{path}: a field test's score is for detectors, too, and")
    require_pixels(deployed.contract, "a field test's score")
    if deployed.contract.guard.place == "in-graph":
        raise InputError(f"{path} has its guard inside the graph, where it cannot be switched off: score one without")
    labels = deployed.contract.labels
    for sheet in sheets:
        for label in (sheet.label, sheet.target):
            if label is not None and label not in labels:
                known = f"{', '.join(labels[:6])}{', ...' if len(labels) > 6 else ''}" if labels else "none"
                raise InputError(
                    f"{path} has no label {label!r}, which the {sheet.arm} sheet of {sheet.object!r} wants; it has "
                    f"the labels {known}"
                )


def write_scores(path: Path, scores: Scores) -> None:
    """One head line, then one line an outcome."""
    head = {"schema": SCHEMA, **{key: value for key, value in vars(scores).items() if key != "outcomes"}}
    if scores.task == "classify":
        del head["task"]
    if scores.memory is None:
        del head["memory"]
    lines = [json.dumps(head), *(json.dumps(_plain(outcome)) for outcome in scores.outcomes)]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _plain(outcome: Outcome) -> dict[str, Any]:
    """A classifier's lines have no keys of detectors."""
    return {key: value for key, value in vars(outcome).items() if value is not None}


def _parsed(line: dict[str, Any]) -> Outcome:
    boxes, apart = line.get("boxes"), line.get("apart")
    lists = {
        "boxes": None if boxes is None else tuple(tuple(box) for box in boxes),
        "apart": None if apart is None else tuple(apart),
    }
    return Outcome(**{**line, **lists})


def read_scores(folder: Path, session: Session | None = None) -> Scores:
    """The scores of a session.

    Args:
        folder: the session's.
        session: read from there; a journal of many frames takes seconds. None reads it.

    Raises:
        InputError: not scored yet, damaged, or of another session.
    """
    path = folder / "scores.jsonl"
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{folder} is not scored yet: edgeguard fieldtest score")
    raw = io.BytesIO(read_regular(path, _LARGEST, "the scores"))
    session = session or Session(folder)
    try:
        with parsing("it"):
            head = _head(raw.readline(_LONGEST_HEAD))
            stored = sum(len(done.frames) for done in session.passes)
            outcomes = tuple(_outcomes(raw, 2 * stored * len(head["guards"]) + _MOST_OF_OTHERS))
    except InputError as error:
        raise InputError(f"{path} is damaged: score again") from error
    if head.pop("schema", None) != SCHEMA or head.get("session") != session.plan.session:
        raise InputError(f"{path} is of another version or session: score again")
    return Scores(**head, outcomes=outcomes)


def _head(line: bytes) -> dict[str, Any]:
    """The first line, with tuples in the place of lists."""
    from msgspec import convert

    head = convert(foreign_json(line, with_nan=True), dict[str, Any])
    convert({**head, "outcomes": ()}, Scores)  # for the types alone
    return {**head, **{key: tuple(head.get(key, ())) for key in ("labels", "guards", "unreadable")}}


def _outcomes(lines: io.BytesIO, most: int) -> Iterator[Outcome]:
    """One line after another: what a file of this size says at once takes gigabytes.

    Raises:
        ValueError: a line is no outcome, or there are more than `most`; for use within `parsing`.
    """
    from msgspec import convert

    for count, line in enumerate(iter(partial(lines.readline, _LONGEST_LINE), b"")):
        if count >= most:
            raise ValueError("it says more than the session's frames can be answered with")
        said = convert(foreign_json(line, with_nan=True), dict[str, Any])
        convert(said, Outcome)  # for the types alone
        outcome = _parsed(said)
        if len(outcome.boxes or ()) > MOST_BOXES or len(outcome.apart or ()) > _MOST_APART:
            raise ValueError("an answer with more boxes than are kept")
        yield outcome


def contradiction(scores: Scores, session: Session) -> str | None:
    """What the scores say that cannot be of this session, if anything. Those of other passes count for nothing."""
    return next(_contradictions(scores, session), None)


def _contradictions(scores: Scores, session: Session) -> Iterator[str]:
    if scores.memory is not None and scores.memory < 1:
        yield f"a memory of {scores.memory} frames"
    if scores.task not in ("classify", "detect") or len(set(scores.guards)) != len(scores.guards):
        yield "a task or guards that are none"
    frames, guards = {done.number: len(done.frames) for done in session.passes}, set(scores.guards)
    seen = set[tuple[int, int, str]]()
    for one in scores.outcomes:
        place = (one.number, one.shot, one.guard)
        if not 0 <= one.shot < frames.get(one.number, one.shot + 1):
            yield f"there is no frame {one.shot} of pass {one.number}"
        if one.guard not in guards or place in seen:
            yield f"the guard {one.guard!r} is not named before, or comes twice with a frame"
        if one.index < NOTHING or not math.isfinite(one.ms):
            yield f"an answer {one.index}, or a time that is none"
        seen.add(place)


def _check_guard(name: str, model: Model) -> None:
    if name == CONTRACT and model.contract.guard == ContractGuard():
        raise InputError("the model carries no guard: leave out contract, or name a profile")
    if model.contract.task == "detect" and name in (DOUBLE_MASKING, LIVE):
        raise InputError(f"{name} is for classifiers; this model is a detector")
    if name == DOUBLE_MASKING and model.contract.input.width != model.contract.input.height:
        raise InputError("double masking wants a square input")
    if name not in (OFF, CONTRACT, DOUBLE_MASKING, LIVE, *PATCH_GUARDS):
        try:
            resolve_profile(name)
        except (ProfileError, OSError) as error:
            known = ", ".join((OFF, CONTRACT, *PATCH_GUARDS, DOUBLE_MASKING, LIVE))
            raise InputError(f"there is no guard {name!r} ({error}); known: {known}, profiles") from error


def _check_live(session: Session, model: Model) -> None:
    ran = {frame.live.model for done in session.passes for frame in done.frames if frame.live is not None}
    if not ran:
        raise InputError("the session has no live arm: record with --model MODEL.tflite")
    if ran != {model.sha256}:
        raise InputError("the live arm ran another model than this one: leave out live, or score with that model")


@lru_cache(maxsize=1)
def _opened(folder: str, model: str) -> tuple[Plan, Model]:
    return read_plan(Path(folder)), load_model(model, threads=1)


@dataclass(frozen=True)
class _Job:
    """A stored frame: of which pass and which of its frames it is, and the sheet before the camera."""

    number: int
    shot: int
    sheet: int
    frame: FrameRecord


def _frame(folder: str, model_path: str, guards: tuple[str, ...], job: _Job) -> tuple[list[Outcome], list[str]]:
    """All guards on one frame. The journal is not read in each process again: a long one takes seconds."""
    plan, model = _opened(folder, model_path)
    try:
        data = read_stored(Path(folder), job.frame)
        if model.contract.task == "detect":
            return _detected(plan, model, data, guards, job), []
        found = [_outcome(model, data, guard, job.number, job.shot) for guard in guards if guard != LIVE]
    except (InputError, JpegError) as error:
        return [], [str(error)]
    if LIVE in guards and (live := job.frame.live) is not None:
        found.append(Outcome(job.number, job.shot, LIVE, live.index, live.score, live.alarm, live.pass1, live.ms))
    return found, []


def _outcome(model: Model, data: bytes, guard: str, number: int, shot: int) -> Outcome:
    began = time.perf_counter()
    path = path_behind(model, guard)
    received = path.arrive(data)
    if guard == DOUBLE_MASKING:
        levels, _ = path.levels(received)
        outputs, alarm = model.infer(path.quantize(levels)), False
        size = model.contract.input.width
        masks = MaskSet(size, round(_PATCH_SHARE**0.5 * size))
        index = DoubleMasking(lambda image: int(model.infer(path.quantize(image)).argmax()), masks)(levels).label
    else:
        prepared = path(received)
        outputs, alarm = model.infer(prepared.tensor), prepared.guarded is not None and prepared.guarded.alarm
        index = int(outputs.argmax())
    ms = (time.perf_counter() - began) * 1e3
    return Outcome(number, shot, guard, index, float(outputs[index]), alarm, received.pass1, round(ms, 3))


def _detected(plan: Plan, model: Model, data: bytes, guards: tuple[str, ...], job: _Job) -> list[Outcome]:
    """All guards on one frame, for a detector."""
    sheet, record = plan.sheet(job.sheet), job.frame
    assert sheet is not None
    label = model.contract.labels.index(sheet.label)
    truth: tuple[float, float, float, float] | None = None
    found = []
    for guard in guards:
        began = time.perf_counter()
        path = path_behind(model, guard)
        received = path.arrive(data)
        prepared = path(received)
        boxes = model.read(model.run(prepared.tensor), *prepared.size).boxes or ()
        ms = (time.perf_counter() - began) * 1e3
        truth = truth or object_box(data, prepared.size, record, sheet, plan.print_scale)
        if truth is None:
            raise InputError(f"{record.file}: where the object is in it is not known")
        on_it = judged_box(boxes, truth, label)
        alarm = prepared.guarded is not None and prepared.guarded.alarm
        found.append(
            Outcome(
                job.number, job.shot, guard, on_it.index, round(on_it.score, 6), alarm, received.pass1, round(ms, 3),
                kept_boxes(boxes), on_it.elsewhere, on_it.apart,
            )
        )  # fmt: skip
    return found


def path_behind(model: Model, guard: str) -> InputPath:
    """From a stored frame to the tensor, behind a guard by its name."""
    plain = guard in (OFF, DOUBLE_MASKING)
    profile, patch = (None, None) if plain else named_guard(guard, model.contract)
    return InputPath(model.contract, profile=profile, patch_guard=patch)
