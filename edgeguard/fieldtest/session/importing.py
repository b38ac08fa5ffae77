"""Import: photographs and films become passes of a session; each file is used, or listed with its reason."""

import contextlib
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from edgeguard.camera.source import Captured
from edgeguard.errors import DeviceError, InputError
from edgeguard.fieldtest.session.look import (
    MOST_OF_A_FILM,
    Lens,
    NotUsed,
    Picture,
    film_pictures,
    look,
    photograph_suffix,
    read_again,
)
from edgeguard.fieldtest.session.marks import Mark
from edgeguard.fieldtest.session.photographs import found_files
from edgeguard.fieldtest.session.placements import Placed, Placement, placements
from edgeguard.fieldtest.session.placing import NOT_MARKED, place, shown, wants_mark
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.session.said import FILE, STORED, read_said
from edgeguard.fieldtest.session.session import KeptFile, Pass, Session
from edgeguard.system.files import write_bytes
from edgeguard.system.workers import single_thread_opencv, worker_pool

_FEW_FILES = 8
_OF_A_FILM = re.compile("#[0-9]+ ([0-9a-f]{64}#[0-9]+)$")
_FAR_OFF, _TURNED_OFF_DEG = 0.25, 10.0  # of a distance; of an angle


@dataclass
class Looked:
    """What is known of all files before anything is stored.

    Attributes:
        pictures: that can be used, if their pose is known.
        not_used: the others.
    """

    pictures: list[Picture] = field(default_factory=list)
    not_used: list[NotUsed] = field(default_factory=list)


@dataclass(frozen=True)
class Imported:
    """What became of an import.

    Attributes:
        passes, frames: stored.
        films: that frames came from.
        not_used: files and pictures of films that were left out, and why.
        unmarked: how many of those only want their corners marked.
        notes: what limits the answer.
        lines: a line for each file or picture of this import: its pass and frame, or the reason why it was left out.
    """

    passes: int
    frames: int
    films: int
    not_used: tuple[NotUsed, ...]
    unmarked: int
    notes: tuple[str, ...]
    lines: tuple[dict[str, Any], ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether all that was given is stored already."""
        return bool(self.not_used) and all(one.reason.startswith(STORED) for one in self.not_used)


def look_at_all(
    session: Session,
    given: Sequence[Path],
    lens: Lens,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Looked:
    """Decode every file once and find the tags in it, in all cores.

    Raises:
        DeviceError: a process was killed.
    """
    files = list(found_files(given))
    looked, known = Looked(), _known(session)
    names: dict[str, str] = {}
    try:
        with contextlib.ExitStack() as stack:
            each: Iterable[list[Picture | NotUsed]] = map(partial(look, lens), files)
            if workers != 1 and len(files) > _FEW_FILES:  # for fewer it takes longer to start processes
                pool = stack.enter_context(worker_pool(workers, single_thread_opencv))
                each = pool.map(partial(look, lens), files, chunksize=4)
            for done, found in enumerate(each, start=1):
                for one in found:
                    _sort(one, looked, known, names)
                progress(done, len(files))
    except BrokenProcessPool as error:
        raise DeviceError("a process that read photographs was killed (out of memory?): try --workers 1") from error
    return looked


def _sort(one: Picture | NotUsed, looked: Looked, known: dict[str, int], names: dict[str, str]) -> None:
    if isinstance(one, NotUsed):
        looked.not_used.append(one)
    elif one.key in known:
        looked.not_used.append(NotUsed(shown(one), f"{STORED}, in pass {known[one.key]}"))
    elif one.key in names:
        looked.not_used.append(NotUsed(shown(one), f"has the same bytes as {names[one.key]}"))
    else:
        names[one.key] = shown(one)
        looked.pictures.append(one)


def _known(session: Session) -> dict[str, int]:
    """Pass by key of what earlier imports stored."""
    known = {}
    for done in session.passes:
        for frame in done.frames:
            if frame.origin is not None:
                film = _OF_A_FILM.search(frame.origin)
                known[frame.sha256 if film is None else film[1]] = done.number
    return known


def to_be_marked(looked: Looked) -> list[Picture]:
    """The pictures whose pose the tags do not tell, in order of their names."""
    return [one for one in looked.pictures if wants_mark(one)]


def import_all(
    session: Session, looked: Looked, marks: dict[str, Mark], *, light: str, gap_s: float, film_fps: float
) -> Imported:
    """Store what can be used as passes; `import.jsonl` gets a line for each file or picture.

    Args:
        session: to be extended.
        looked: by `look_at_all`.
        marks: by key of the picture.
        light: of pictures in no folder that is named after one.
        gap_s: see `placements`.
        film_fps: as in `look_at_all`.

    Raises:
        DeviceError: the disk is full or gone; passes that were stored before stay.
        InputError: a file changed while it was imported, or the session's list of files is damaged.
    """
    said = read_said(session.folder / FILE)  # one that cannot be read is said before anything is stored
    placed, left, unmarked = list[Placed](), list(looked.not_used), 0
    for picture in looked.pictures:
        found = place(picture, session.plan, marks.get(picture.key), light)
        if isinstance(found, Placed):
            placed.append(found)
            continue
        unmarked += found == NOT_MARKED
        left.append(NotUsed(shown(picture), found))
    used: list[dict[str, Any]] = []
    groups, before = list[Placement](), _Stored(session.passes)
    for group in placements(placed, gap_s):
        late = before.pass_of(group, gap_s)
        if late is not None:
            why = f"belongs to the placement of pass {late}, which is stored: its frames are not changed any more"
            left += [NotUsed(shown(one.picture), why) for one in group.pictures]
            continue
        groups.append(group)
        known = [_known_of(one) for one in group.pictures]
        done = session.store(group.sheet, group.cell, _frames(group, film_fps), known)
        used += [
            {"file": shown(one.picture), "pass": done.number, "frame": frame.file, "sheet": one.sheet,
             "pose_from": one.pose_from}
            for one, frame in zip(group.pictures, done.frames, strict=True)
        ]  # fmt: skip
    lines = [*used, *(asdict(one) for one in left)]
    said.take(lines)
    write_bytes(session.folder / FILE, said.to_bytes())
    films = {one.picture.file.path for one in placed if one.picture.index is not None}
    notes = (*_cut_films(looked), *_notes(placed, groups))
    return Imported(len(groups), len(used), len(films), tuple(left), unmarked, notes, tuple(lines))


class _Stored:
    """The passes of earlier imports, by sheet and cell: where their photographs lay, and when they were taken."""

    def __init__(self, passes: Iterable[Pass]) -> None:
        self._folders: dict[tuple[int, Cell | None, str], int] = {}
        self._times: dict[tuple[int, Cell | None], list[tuple[float, int]]] = defaultdict(list)
        for done in passes:
            if _OF_A_FILM.search(done.frames[0].origin or ""):
                continue  # a film is a pass of its own
            for frame in done.frames:
                folder = (frame.origin or "/").rpartition("/")[0]
                self._folders.setdefault((done.sheet, done.cell, folder), done.number)
                if frame.origin is not None:
                    self._times[done.sheet, done.cell].append((frame.captured_at, done.number))
        for times in self._times.values():
            times.sort()

    def pass_of(self, group: Placement, gap_s: float) -> int | None:
        """The first pass whose placement these photographs show; None where there is none."""
        if group.pictures[0].picture.index is not None:
            return None
        found, times = list[int](), self._times.get((group.sheet, group.cell), [])
        for one in group.pictures:
            at = one.picture.taken_at
            if at is None:
                place = group.sheet, group.cell, shown(one.picture).rpartition("/")[0]
                found += [self._folders[place]] if place in self._folders else []
            else:
                first = bisect_left(times, at - gap_s, key=itemgetter(0))
                last = bisect_right(times, at + gap_s, lo=first, key=itemgetter(0))
                found += [number for _, number in times[first:last]]
        return min(found, default=None)


def _frames(group: Placement, film_fps: float) -> Iterator[Captured | KeptFile]:
    """The bytes of a pass, one after the other: a film's pictures together would fill the memory."""
    first = group.pictures[0].picture
    if first.index is not None:
        wanted = {one.picture.index for one in group.pictures}
        for index, captured in film_pictures(first.file.path, film_fps):
            if index in wanted:
                wanted.remove(index)
                yield captured
        if wanted:
            raise InputError(f"{first.file.name} changed while it was imported: run the command again")
        return
    for one in group.pictures:
        data, at = read_again(one.picture), one.picture.taken_at
        yield KeptFile(data, photograph_suffix(data), 0.0 if at is None else at)


def _known_of(one: Placed) -> dict[str, Any]:
    pose = one.pose
    origin = shown(one.picture) if one.picture.index is None else f"{shown(one.picture)} {one.picture.key}"
    return {
        "distance_mm": pose.distance_mm, "angle_deg": pose.angle_deg, "angle_error_deg": pose.angle_error_deg,
        "tags": one.picture.tags if one.pose_from == "tags" else 0, "cell": one.cell, "live": None,
        "corners": one.corners, "pose_from": one.pose_from, "focal_px": round(one.picture.focal_px, 2),
        "origin": origin, "size": (one.picture.width, one.picture.height),
    }  # fmt: skip


def _cut_films(looked: Looked) -> list[str]:
    taken = Counter(one.file.name for one in looked.pictures if one.index is not None)
    return [
        f"{name}: its first {count} pictures were taken. If it is longer, lower --film-fps, or cut it."
        for name, count in taken.items() if count >= MOST_OF_A_FILM
    ]  # fmt: skip


def _notes(placed: Sequence[Placed], groups: Sequence[Placement]) -> list[str]:
    notes = []
    by_lens = Counter(one.picture.focal_from for one in placed)
    if by_lens["plan"]:
        notes.append(
            f"{by_lens['plan']} pictures do not say their lens: the plan's field of view was taken for the longer "
            "side. Give --field-of-view if it is another, else distances are wrong by as much."
        )
    timeless = sum(len(group.pictures) for group in groups if group.timeless)
    if timeless:
        notes.append(
            f"{timeless} photographs say no time: those of one sheet, place and folder count as one pass. "
            "Put each placement into a folder of its own."
        )
    sized = sum(one.pose_from == "size" for one in placed)
    if sized:
        notes.append(f"{sized} pictures have a marked box: their angle is not known and stands as 0 degrees.")
    turned = sum(_is_turned_off(one) for one in placed)
    if turned:
        notes.append(
            f"{turned} pictures are turned more than {_TURNED_OFF_DEG:.0f} degrees off every angle of the plan and "
            "count at the nearest one."
        )
    off = sum(_is_off(one) for one in placed)
    if off:
        notes.append(
            f"{off} pictures stand more than a quarter off every distance of the plan and count at the nearest one."
        )
    return notes


def _is_off(one: Placed) -> bool:
    return abs(one.pose.distance_mm / one.cell.distance_mm - 1) > _FAR_OFF


def _is_turned_off(one: Placed) -> bool:
    """From the front an angle is known badly, and of a marked box not at all."""
    slack = max(_TURNED_OFF_DEG, 2 * one.pose.angle_error_deg if one.cell.angle_deg == 0 else 0.0)
    return one.pose_from != "size" and abs(one.pose.angle_deg - one.cell.angle_deg) > slack
