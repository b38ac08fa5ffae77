"""Frames that judge nothing, because the model does not know the clean object there: how many, and in which cells."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.known_cells import flags_for
from edgeguard.fieldtest.session.plan import Cell

K = TypeVar("K", tuple[float, float], str)
_LEAST = 0.5  # of a cell's frames that are eligible, for a plan to keep the cell


def eligible_notes(frames: Sequence[tuple[Cell, bool]], task: str) -> Iterable[str]:
    """How many frames are not eligible; where these are more than half, in which cells, and what to plan instead.

    Args:
        frames: the cell of each frame, and whether it is eligible.
        task: of the model.
    """
    left_out = sum(not is_eligible for _, is_eligible in frames)
    if not left_out:
        return
    what = "found" if task == "detect" else "classified correctly"
    yield (
        f"{left_out} of {len(frames)} frames are not eligible: without a guard the clean object was not {what} there. "
        "They count for no attack's success."
    )
    if 2 * left_out <= len(frames):
        return
    places = _counted(frames, lambda cell: (cell.distance_mm, cell.angle_deg))
    known = {place: one.hits >= _LEAST * one.n for place, one in places.items()}
    distances = dict.fromkeys(distance for distance, _ in places)
    where = "; ".join(
        f"{distance:g} mm "
        + ", ".join(f"{angle:g} degrees {_said(one)}" for (d, angle), one in places.items() if d == distance)
        for distance in distances
    )
    lights = _counted(frames, lambda cell: cell.light)
    lit = "" if len(lights) < 2 else f"; {', '.join(f'{name} {_said(one)}' for name, one in lights.items())}"
    flags = flags_for(known)
    todo = f"Plan {flags}" if flags else "Plan other distances or angles"
    yield (
        "More than half of the frames judge nothing: the model does not know the clean object as this camera sees it. "
        f"Eligible frames by cell: {where}{lit}. {todo}, or take a model that learned from such pictures."
    )


def _counted(frames: Sequence[tuple[Cell, bool]], key: Callable[[Cell], K]) -> dict[K, Counted]:
    bins = defaultdict[K, list[bool]](list)
    for cell, is_eligible in frames:
        bins[key(cell)].append(is_eligible)
    return {place: Counted(sum(found), len(found)) for place, found in sorted(bins.items())}


def _said(one: Counted) -> str:
    return f"{one.hits} of {one.n}"
