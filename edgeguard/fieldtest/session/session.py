"""A session's folder: source frames exactly as the camera gave them, and a journal of passes.

A pass counts once its line stands in `passes.jsonl`; its frames are on the disk before that. Whatever an unplugged
camera or a power cut leaves besides (frames without a line, half a line) is no pass, and is cleared on the next start.
"""

import hashlib
import io
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeguard.camera.source import Captured
from edgeguard.errors import DeviceError, InputError
from edgeguard.fieldtest.session.place import goes_around
from edgeguard.fieldtest.session.plan import FARTHEST_MM, Cell, Plan, read_plan
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_regular
from edgeguard.system.leftovers import clear_partials
from edgeguard.system.names import file_inside, refuse_special

SCHEMA = 1
_FOLDER_OF_A_PASS = re.compile("[0-9]{5,}")
_LARGEST = 256 << 20  # bytes of passes.jsonl: the largest plan, with some frames for each pass
_LONGEST = 8 << 20  # bytes of a line
_MOST_FRAMES = 500_000  # the largest plan, with five frames for each pass; half a gigabyte of what is said of them
_MOST_SAID = 16  # values of a camera's exposure
_LAST_MOMENT = 253_402_300_799  # the end of the year 9999, seconds
_FARTHEST_SEEN_MM = 1e9
_LATER_KEYS = ("corners", "pose_from", "focal_px", "origin", "size")


@dataclass(frozen=True)
class LiveOutcome:
    """What the running defence said of a frame while it was recorded.

    Attributes:
        model: SHA-256 of the file.
        guard: the contract's guards in words.
        index, score, alarm, pass1, ms: see `score.Outcome`.
    """

    model: str
    guard: str
    index: int
    score: float
    alarm: bool
    pass1: str
    ms: float


@dataclass(frozen=True)
class FrameRecord:
    """One stored frame.

    Attributes:
        file: below the session's folder.
        sha256: of its bytes.
        captured_at: Unix seconds.
        distance_mm, angle_deg, angle_error_deg: pose from the tags.
        tags: how many were seen.
        cell: where the pose falls.
        jpeg_tables: SHA-256 of the camera's quantisation tables; None for raw frames.
        exposure: what the camera says of itself (empty where it says nothing).
        live: the live arm, where a model ran beside the recording.
        corners: of the object's rectangle in the frame, clockwise from its upper left, pixels of the upright frame.
        pose_from: `tags`, `corners` (marked by hand) or `size` (of a marked box: the angle is then not known).
        focal_px: of the camera, where it is not the plan's.
        size: width and height of the upright frame.
        origin: of an imported frame, the file that it came from; None for a recorded one.
    """

    file: str
    sha256: str
    captured_at: float
    distance_mm: float
    angle_deg: float
    angle_error_deg: float
    tags: int
    cell: Cell
    jpeg_tables: str | None
    exposure: dict[str, float]
    live: LiveOutcome | None = None
    corners: tuple[tuple[float, float], ...] | None = None
    pose_from: str | None = None
    focal_px: float | None = None
    origin: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class KeptFile:
    """A picture's own bytes, to be stored as they are.

    Attributes:
        data: of the file.
        suffix: of its name in the session, with the dot.
        captured_at: Unix seconds.
    """

    data: bytes
    suffix: str
    captured_at: float


@dataclass(frozen=True)
class Pass:
    """One placement, or one drive-by: the unit of all statistics.

    Attributes:
        session: the plan's.
        number: from 0, in order of recording.
        sheet: its tags' number.
        cell: where it stood; None for a drive-by, whose frames have a cell each.
        repeat: which pass of its sheet and cell it is, from 0 (of its sheet, for a drive-by).
    """

    session: str
    number: int
    sheet: int
    cell: Cell | None
    repeat: int
    frames: tuple[FrameRecord, ...]
    schema: int = SCHEMA


class Session:
    """The folder of a plan, opened for recording and reading.

    Raises:
        InputError: it is no session, holds passes of another one, or links in the place of its own files.
    """

    def __init__(self, folder: Path) -> None:
        refuse_special(folder, "plan.json", "passes.jsonl", "frames")
        self.folder, self.plan = folder, read_plan(folder)
        self.passes = _read_journal(folder / "passes.jsonl", self.plan)
        self._counts = Counter((done.sheet, done.cell) for done in self.passes)

    def recover(self) -> list[str]:
        """Clear what an interruption left; returns a line for each thing cleared."""
        said = []
        whole = b"".join(_line(done) for done in self.passes)
        journal = self.folder / "passes.jsonl"
        if journal.exists() and journal.read_bytes() != whole:
            write_bytes(journal, whole)
            said.append("a half-written line of passes.jsonl was dropped")
        clear_partials(journal)
        kept = {Path(frame.file).parent.name for done in self.passes for frame in done.frames}
        for left in sorted((self.folder / "frames").glob("*")):
            # of anybody else's folder nothing goes
            if left.name not in kept and _FOLDER_OF_A_PASS.fullmatch(left.name) and _is_folder(left):
                shutil.rmtree(left)
                said.append(f"{left.name}: frames of an unfinished pass were dropped")
        return said

    def count(self, sheet: int, cell: Cell) -> int:
        """Passes of a sheet in a cell."""
        return self._counts[sheet, cell]

    def store(
        self, sheet: int, cell: Cell | None, captured: Iterable[Captured | KeptFile], poses: list[dict[str, Any]]
    ) -> Pass:
        """Keep a pass: frames first, then its line.

        Args:
            poses: for each frame distance_mm, angle_deg, angle_error_deg, tags, cell and live, and what else is known
                of corners, pose_from, focal_px and origin.

        Raises:
            InputError: the session has as many frames as one can have.
            DeviceError: the disk is full or gone; nothing half-written counts.
        """
        number = len(self.passes)
        if sum(len(one.frames) for one in self.passes) + len(poses) > _MOST_FRAMES:
            raise InputError(f"{self.folder} would hold more than {_MOST_FRAMES} frames: go on with another plan")
        name = f"{number:05d}"
        folder = self.folder / "frames" / name
        refuse_special(self.folder, "passes.jsonl", "frames", f"frames/{name}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            frames = tuple(
                _stored(folder, index, frame, pose)
                for index, (frame, pose) in enumerate(zip(captured, poses, strict=True))
            )
            done = Pass(self.plan.session, number, sheet, cell, self._counts[sheet, cell], frames)
            with open(self.folder / "passes.jsonl", "ab") as journal:
                journal.write(_line(done))
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise DeviceError(f"cannot write {folder}: {error.strerror}") from error
        self.passes.append(done)
        self._counts[sheet, cell] += 1
        return done

    def read_frame(self, frame: FrameRecord) -> bytes:
        """A stored frame's bytes; see `read_stored`."""
        return read_stored(self.folder, frame)

    def missing(self) -> Counter[tuple[int, Cell]]:
        """How many passes of each (sheet, cell) are still to be recorded."""
        done = Counter((one.sheet, one.cell) for one in self.passes)
        wanted = {(sheet.number, cell): self.plan.passes for cell in self.plan.cells() for sheet in self.plan.sheets}
        return Counter({key: left for key, count in wanted.items() if (left := count - done[key]) > 0})


def read_stored(folder: Path, frame: FrameRecord) -> bytes:
    """The bytes of a frame that a session's folder holds.

    Raises:
        InputError: it is gone, lies outside the session, or is no longer what was recorded.
    """
    try:
        data = file_inside(folder, frame.file).read_bytes()
    except OSError as error:
        raise InputError(f"{frame.file}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != frame.sha256:
        raise InputError(f"{frame.file} is truncated or changed since it was recorded")
    return data


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def frame_bytes(captured: Captured) -> tuple[bytes, str]:
    """A frame as it is kept, and its file's suffix: the camera's own bytes, or raw pixels as a PNG."""
    if captured.jpeg is not None:
        return captured.jpeg, ".jpg"
    if captured.png is not None:
        return captured.png, ".png"
    assert captured.rgb is not None
    return cv2.imencode(".png", np.ascontiguousarray(captured.rgb[:, :, ::-1]))[1].tobytes(), ".png"


def _stored(folder: Path, index: int, captured: Captured | KeptFile, pose: dict[str, Any]) -> FrameRecord:
    jpeg = captured.jpeg if isinstance(captured, Captured) else None
    if isinstance(captured, KeptFile):
        data, suffix = captured.data, captured.suffix
        jpeg = data if data[:2] == b"\xff\xd8" else None
    else:
        data, suffix = frame_bytes(captured)
    path = folder / f"{index:03d}{suffix}"
    write_bytes(path, data)
    relative = str(path.relative_to(folder.parent.parent))
    return FrameRecord(
        relative, hashlib.sha256(data).hexdigest(), captured.captured_at, jpeg_tables=_tables(jpeg),
        exposure=_exposure(jpeg), **pose,
    )  # fmt: skip


def _tables(jpeg: bytes | None) -> str | None:
    if jpeg is None:
        return None
    from edgeguard.jpeg.header import read_whole_jpeg

    return read_whole_jpeg(jpeg).tables_sha256


def _exposure(jpeg: bytes | None) -> dict[str, float]:
    """Exposure time and gain of the EXIF header, where the camera wrote one."""
    if jpeg is None or b"Exif\0\0" not in jpeg[:4096]:
        return {}
    import io
    import warnings

    from PIL import ExifTags, Image

    names = {ExifTags.Base.ExposureTime: "exposure_s", ExifTags.Base.ISOSpeedRatings: "iso"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Image.open(io.BytesIO(jpeg), formats=("JPEG",)).getexif().get_ifd(ExifTags.IFD.Exif)
        values = {name: float(found[tag]) for tag, name in names.items() if tag in found}
    except Exception:  # what a camera writes there is not worth a frame, and parsers raise whatever they like
        return {}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _line(done: Pass) -> bytes:
    data = asdict(done)
    for frame in data["frames"]:
        for key in _LATER_KEYS:  # earlier sessions have none of them, and their lines stay what they are
            if frame[key] is None:
                del frame[key]
    return (json.dumps(data, separators=(",", ":")) + "\n").encode()


def _read_journal(path: Path, plan: Plan) -> list[Pass]:
    """All whole lines; a torn last one is left out."""
    if not path.exists() and not path.is_symlink():
        return []
    passes: list[Pass] = []
    frames = 0
    for number, line in enumerate(io.BytesIO(read_regular(path, _LARGEST, "the journal")), start=1):
        if len(line) > _LONGEST:
            raise InputError(f"{path}:{number} is longer than {_LONGEST >> 20} MiB")
        try:
            with parsing(f"{path}:{number}"):
                data = None if line == b"\n" else foreign_json(line, with_nan=True)
        except InputError:
            if not line.endswith(b"\n"):
                break
            raise
        if data is not None:
            passes.append(_parse(data, plan, len(passes), f"{path}:{number}"))
            frames += len(passes[-1].frames)
            if frames > _MOST_FRAMES:
                raise InputError(f"{path} holds more than {_MOST_FRAMES} frames: record the rest with another plan")
    return passes


def _parse_frame(data: dict[str, Any]) -> FrameRecord:
    live = None if data.get("live") is None else LiveOutcome(**data["live"])
    corners = data.get("corners")
    if corners is not None:
        corners = tuple((float(x), float(y)) for x, y in corners)
        if len(corners) != 4 or not goes_around(corners):
            raise ValueError("an object has four corners, clockwise")
    size = None if data.get("size") is None else (int(data["size"][0]), int(data["size"][1]))
    focal = data.get("focal_px")
    if (size is not None and not 1 <= min(size) <= max(size) <= 1 << 16) or (
        focal is not None and not 1 <= focal <= 1e7
    ):
        raise ValueError("a size or a focal length is out of range")
    if not (_is_moment(data["captured_at"]) and 0 < data["distance_mm"] <= _FARTHEST_SEEN_MM):
        raise ValueError("a time or a distance is out of range")
    if len(data["exposure"]) > _MOST_SAID:
        raise ValueError("a camera says more of itself than is kept")
    if not all(math.isfinite(data[name]) for name in ("angle_deg", "angle_error_deg")):
        raise ValueError("an angle is no number")
    return FrameRecord(**{**data, "cell": _cell(data["cell"]), "live": live, "corners": corners, "size": size})


def _cell(data: dict[str, Any]) -> Cell:
    cell = Cell(**data)
    if not (0 < cell.distance_mm <= FARTHEST_MM and math.isfinite(cell.angle_deg)):
        raise ValueError("a position is out of range")
    return cell


def _is_moment(seconds: float) -> bool:
    """Whether a calendar has it; NaN is none."""
    return abs(seconds) <= _LAST_MOMENT


def _parse(data: Any, plan: Plan, number: int, origin: str) -> Pass:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{origin} is of another version")
    if data.get("session") != plan.session:
        raise InputError(f"{origin} belongs to another session: sessions are not mixed")
    from msgspec import convert

    with parsing(origin):
        convert(data, Pass)  # for the types alone: values stay as they are written
        if data["number"] != number:
            raise ValueError(f"it says that it is pass {data['number']}, and stands in the place of pass {number}")
        if plan.sheet(data["sheet"]) is None:
            raise ValueError(f"the plan has no sheet {data['sheet']}")
        frames = tuple(_parse_frame(frame) for frame in data["frames"])
        if not frames:
            raise ValueError("a pass without frames")
        cell = None if data["cell"] is None else _cell(data["cell"])
        return Pass(**{**data, "frames": frames, "cell": cell})
