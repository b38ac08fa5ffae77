"""What takes a patch's strength, as data: kept in the session, read by the report, said in words."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.why_frames import RENDERED_STEPS
from edgeguard.fieldtest.session.session import Session
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_regular

FILE = "why.json"
SCHEMA = 1
GUARD_STEP = "guard"
STEPS = (*RENDERED_STEPS, GUARD_STEP)
_LARGEST = 8 << 20
_MOSTLY = 0.5  # of the frames, in which the clean object should be right
_NEAR = 0.05  # losses that differ by less are told apart by the scores


@dataclass(frozen=True)
class Strength:
    """What the patch does to renderings in which some steps are on.

    Attributes:
        steps: that are on.
        success: share of frames in which the clean picture is right and the patch is a success.
        clean: share in which the clean picture is right.
        push: mean over frames of how far the patch pushes the score its way, -1..1.
    """

    steps: tuple[str, ...]
    success: float
    clean: float
    push: float


@dataclass(frozen=True)
class Why:
    """One patch.

    Attributes:
        sheet: number.
        guard: that the last step switches on; None where only `off` was scored.
        frames: that were made again.
        best_px: side of the object at which the digital patch is strongest.
        ladder: with no step on, then with one more at a time, in the order of `STEPS`.
        field: share of the same frames that were a success as they were recorded, without a guard; whether the clean
            object was right there does not count.
        sigma_px, side_px, angle_deg: medians of what was measured.
    """

    sheet: int
    guard: str | None
    frames: int
    best_px: float
    ladder: tuple[Strength, ...]
    field: float | None
    sigma_px: float
    side_px: float
    angle_deg: float

    def losses(self) -> list[tuple[str, float, float]]:
        """Step, success that it takes, push that it takes; the largest first.

        Steps that take nearly the same (within five points of the largest) are ordered by what they take of the push.
        """
        each = [
            (after.steps[-1], before.success - after.success, before.push - after.push)
            for before, after in pairwise(self.ladder)
        ]
        largest = max((loss for _, loss, _ in each), default=0.0)
        return sorted(
            each, key=lambda one: (one[1] < largest - _NEAR, -one[2] if one[1] >= largest - _NEAR else -one[1])
        )

    def sentence(self) -> str:
        """What takes most, for people."""
        digital, clean = self.ladder[0].success, self.ladder[0].clean
        if digital < 0.1 and clean < _MOSTLY:
            return (
                f"On the screen already the model is right about the clean object in {100 * clean:.0f} % of the frames "
                "only: nothing can be said of the patch. Is the picture of the object what stood there?"
            )
        if digital < 0.1:
            return (
                f"On the screen already it is a success in {100 * digital:.0f} % of the frames only: it is the patch, "
                "not the print. Make a better one first."
            )
        step, loss, push = self.losses()[0]
        if loss < 0.05 and push < 0.05:
            return f"It keeps its strength: no step takes more than 5 points of {100 * digital:.0f} %."
        return f"{_WORDS[step]} takes most: {100 * loss:.0f} points of the {100 * digital:.0f} % that it has digitally."


_WORDS = {
    "colors": "What print, light and camera make of the colors",
    "scale": "The distance (the object is small in the frame)",
    "angle": "The angle",
    "blur": "Blur",
    "camera JPEG": "The camera's JPEG",
    GUARD_STEP: "The guard",
}


def read_why(folder: Path) -> tuple[Why, ...]:
    """What `why_it_fails` found; empty where it was not run.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return ()
    with parsing(str(path)):
        data = foreign_json(read_regular(path, _LARGEST, "the file"))
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise InputError(f"{path} is of another version: score again")
        return tuple(_parsed(one) for one in data["patches"])


def _parsed(data: dict[str, object]) -> Why:
    from msgspec import convert

    found = convert(data, Why)
    if not found.ladder or any(step not in STEPS for one in found.ladder for step in one.steps):
        raise ValueError("its steps are not known")
    if any(not one.steps for one in found.ladder[1:]):
        raise ValueError("a step is missing")
    return found


def write_why(folder: Path, found: Sequence[Why]) -> None:
    """Write `why.json`."""
    data = {"schema": SCHEMA, "patches": [asdict(one) for one in found]}
    write_bytes(folder / FILE, (json.dumps(data, indent=1) + "\n").encode())


def clear_why(folder: Path) -> tuple[Why, ...]:
    """Remove what an earlier score found: it would be of other scores. Returns an empty tuple."""
    (folder / FILE).unlink(missing_ok=True)
    return ()


def why_lines(session: Session, found: Sequence[Why]) -> list[str]:
    """For the terminal: what takes most of each patch's strength, and the whole way down."""
    lines = []
    for one in found:
        sheet = session.plan.sheet(one.sheet)
        if sheet is None:
            continue
        way = ", ".join(f"{(one.steps or ('digital',))[-1]} {100 * one.success:.0f}" for one in one.ladder)
        lines.append(f"{sheet.object}, patch {sheet.number}: {one.sentence()} (%, step by step: {way})")
    return lines
