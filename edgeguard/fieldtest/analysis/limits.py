"""What limits the answers of detectors, of a memory, and of imported pictures, in lines."""

from collections.abc import Iterable

from edgeguard.fieldtest.analysis.memory import MemoryFindings
from edgeguard.fieldtest.analysis.score import OFF, Scores
from edgeguard.fieldtest.session.session import Session


def detector_notes(session: Session, scores: Scores) -> Iterable[str]:
    """Two objects of a class in view, and poses that are known by their size only."""
    twice = sum(bool(one.elsewhere) for one in scores.outcomes if one.guard == OFF)
    if twice:
        yield (
            f"In {twice} frames another box of the object's class lies elsewhere: the one on the marked object counts. "
            "A second object may stand in view, or the detector invents one. Nothing has to be done: only a patch to "
            "create is judged by boxes elsewhere."
        )
    frames = [frame for done in session.passes for frame in done.frames]
    sized = sum(frame.pose_from == "size" for frame in frames)
    if sized:
        yield f"Of {sized} frames only the size of the object is known: they stand in the column of 0 degrees."
    if any(frame.origin is not None for frame in frames):
        yield (
            "Photographs and films were imported. The clean object did not stand in the very same places: a frame is "
            "eligible where more than half of the clean object's frames of that position were right."
        )


def memory_notes(memory: MemoryFindings) -> Iterable[str]:
    """What a memory leaves out."""
    unknown = {one.sheet.object for one in memory.arms if one.guard == OFF and not one.n}
    for name in sorted(unknown):
        yield (
            f"With a memory of {memory.frames} frames nothing can be said of {name}, or of some of its arms: the clean "
            f"object was not found in {memory.frames} frames in a row in more than half of the passes of a position. "
            "Stand nearer, or take a shorter memory."
        )
    if memory.arms and memory.short:
        yield f"{memory.short} passes have fewer than {memory.frames} frames: for a memory that long they say nothing."
