"""What is proven in a field test: how large a patch on the object provably cannot change the label, frame by frame.

Of the clean sheets only: a proof is about the object as it is, with whatever a patch would hide put on it. Sizes are
for a square that stands upright in the frame; one that is turned has to fit into such a square.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.findings import Findings
from edgeguard.fieldtest.session.session import FrameRecord, Pass, Session
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.model import Model
from edgeguard.system.files import write_bytes

FILE = "certified.jsonl"
_PATCH_SHARE = 0.1  # of the object's area, where no sheet of the session has a patch


@dataclass(frozen=True)
class CertifiedFrame:
    """One frame of a clean sheet.

    Attributes:
        number, shot: of the pass and of its frame.
        distance_mm, angle_deg: of the cell that it stands in.
        right: the label is the object's.
        side_px: of the largest square of the frame that cannot change the label; 0 where it is wrong or nothing is
            proven.
        side_mm: the same on the object, at its nearest edge.
    """

    number: int
    shot: int
    distance_mm: float
    angle_deg: float
    right: bool
    side_px: int
    side_mm: float


def certify_session(
    folder: Path, model: Model, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[CertifiedFrame]:
    """Certify each frame of the clean sheets behind the model's own guard; writes `certified.jsonl`.

    Raises:
        InputError: the model proves nothing (or nothing in the frame), or no clean sheet was recorded.
    """
    session = Session(folder)
    if model.votes is None:
        raise InputError("--certify needs a model that proves its labels against a patch (train --model patchcert)")
    jobs = [(done, shot) for done in session.passes if _clean(session, done) for shot in range(len(done.frames))]
    if not jobs:
        raise InputError("--certify looks at frames of clean sheets, and the session has none")
    found = []
    for count, (done, shot) in enumerate(jobs, start=1):
        try:
            found.append(_certified(session, model, done, shot))
        except JpegError:
            pass  # the score counts and names frames that cannot be read
        progress(count, len(jobs))
    write_bytes(folder / FILE, "".join(json.dumps(asdict(one)) + "\n" for one in found).encode())
    return found


def side_wanted_mm(session: Session) -> float:
    """The patch that the session tests: the side of its largest, or of a tenth of the object's area without one."""
    overlays = [sheet.overlay.side_mm for sheet in session.plan.sheets if sheet.arm == "patch" and sheet.overlay]
    return max(overlays) if overlays else math.sqrt(_PATCH_SHARE) * session.plan.sheets[0].object_mm


def certified_report(session: Session, found: Findings, frames: list[CertifiedFrame]) -> list[str]:
    """Lines: how many frames are proven against the session's patch, by distance and angle, beside what patches did."""
    wanted = side_wanted_mm(session)
    lines = [
        f"certified: right, and proven against any one patch of {wanted:.0f} mm on the object: "
        f"{_said(_counted(frames, wanted))} of the clean frames (intervals over frames only describe)"
    ]
    axes: tuple[tuple[str, Callable[[CertifiedFrame], float], str], ...] = (
        ("mm", lambda one: one.distance_mm, "by_distance"),
        ("degrees", lambda one: one.angle_deg, "by_angle"),
    )
    for name, key, bins in axes:
        groups: dict[float, list[CertifiedFrame]] = defaultdict(list)
        for one in frames:
            groups[key(one)].append(one)
        for value, group in sorted(groups.items()):
            median = float(np.median([one.side_mm for one in group]))
            lines.append(
                f"  {value:5g} {name}: certified {_said(_counted(group, wanted))}, median size {median:.0f} mm"
                + _success(found, bins, value)
            )
    return lines


def _success(found: Findings, bins: str, value: float) -> str:
    """What the session's patches did there, each behind the guard that it was made through."""
    said = []
    for arm in found.arms:
        counted: Counted | None = getattr(arm, bins).get(value)
        if arm.sheet.arm == "patch" and counted is not None and counted.n:
            said.append(f"patch to {arm.sheet.aim} behind {arm.guard}: {_said(counted)}")
    return "; " + "; ".join(said) if said else ""


def _counted(frames: list[CertifiedFrame], wanted: float) -> Counted:
    return Counted(sum(one.right and one.side_mm >= wanted for one in frames), len(frames))


def _said(counted: Counted) -> str:
    low, high = counted.interval
    return f"{100 * counted.share:.1f} [{100 * low:.0f}, {100 * high:.0f}] %, n {counted.n}"


def _clean(session: Session, done: Pass) -> bool:
    sheet = session.plan.sheet(done.sheet)
    return sheet is not None and sheet.arm == "clean"


def _certified(session: Session, model: Model, done: Pass, shot: int) -> CertifiedFrame:
    sheet, record = session.plan.sheet(done.sheet), done.frames[shot]
    assert sheet is not None
    prepared = model.input_path(model.input_path.arrive(session.read_frame(record)))
    said = model.read(model.run(prepared.tensor), *prepared.size)
    if said.certified_patch_frame is None:
        raise InputError("--certify: the model's patch guard may look anywhere, so that nothing is proven in the frame")
    right = said.label == sheet.label
    side = said.certified_patch_frame if right else 0
    scale = millimetres_per_pixel(record, sheet, session.plan.field_of_view_deg, prepared.size[0])
    return CertifiedFrame(
        done.number, shot, record.cell.distance_mm, record.cell.angle_deg, right, side, round(side * scale, 1)
    )


def millimetres_per_pixel(record: FrameRecord, sheet: Sheet, field_of_view_deg: float, width: int) -> float:
    """Millimetres that a pixel of the frame covers at the object's nearest edge: the fewest anywhere on it.

    Args:
        record: where the object stood.
        sheet: its size.
        field_of_view_deg: across the frame.
        width: of the frame, pixels.
    """
    focal = record.focal_px or width / 2 / math.tan(math.radians(field_of_view_deg / 2))
    nearest = record.distance_mm - sheet.object_mm / 2 * math.sin(math.radians(min(abs(record.angle_deg), 90)))
    return max(nearest, 1.0) / focal
