"""From placed pictures to passes: which photographs show one placement of one sheet."""

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from edgeguard.fieldtest.session.arms import is_recorded_pass
from edgeguard.fieldtest.session.look import Picture
from edgeguard.fieldtest.session.place import Corners
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.sheets.tags import Pose

_LATEST = 1000  # pictures of a placement that say how it stands: each run that joins it asks again
_NEAR, _NEAR_DEG = 0.06, 5.0  # by which poses of one placement differ at most: share of the distance; angle


@dataclass(frozen=True)
class Placed:
    """A picture whose sheet and pose are known.

    Attributes:
        picture: of which file.
        sheet: number.
        pose: of the object.
        corners: of the object's rectangle.
        pose_from: `tags`, `corners` or `size`.
        cell: nearest to the pose, under its light.
    """

    picture: Picture
    sheet: int
    pose: Pose
    corners: Corners
    pose_from: str
    cell: Cell


@dataclass(frozen=True)
class Placement:
    """One pass: pictures of one placement, or of one film.

    Attributes:
        sheet: number.
        cell: where it stood; None for an approach through several cells.
        pictures: by time.
        timeless: they count as one only because nothing says when they were taken.
    """

    sheet: int
    cell: Cell | None
    pictures: tuple[Placed, ...]
    timeless: bool = False


def placements(placed: Iterable[Placed], gap_s: float) -> list[Placement]:
    """Group pictures to passes, in order of their time.

    A film is one pass. Photographs of a sheet in a cell are one pass while each was taken within `gap_s` of the one
    before; those in one folder without a time are one pass together, because nothing says that they are independent.
    A placement between two cells stays one: its pictures stand in the cell that most of them are nearest to.

    Args:
        placed: pictures with pose.
        gap_s: seconds.
    """
    films: dict[str, list[Placed]] = defaultdict(list)
    photographs: dict[tuple[int, Cell], list[Placed]] = defaultdict(list)
    timeless: dict[tuple[int, tuple[str, ...]], list[Placed]] = defaultdict(list)
    for one in placed:
        if one.picture.index is not None:
            films[f"{one.picture.key.split('#')[0]} {one.sheet}"].append(one)
        elif one.picture.taken_at is not None:
            photographs[one.sheet, one.cell].append(one)
        else:
            timeless[one.sheet, one.picture.file.folders].append(one)
    found = [_film(pictures) for pictures in films.values()]
    runs = [run for each in photographs.values() for run in _runs(each, gap_s)]
    found += [_placement(run) for run in _merged(runs, gap_s)]
    for (_, folders), each in timeless.items():
        if is_recorded_pass(folders):
            found.append(_placement(each))
            continue
        cells: dict[Cell, list[Placed]] = defaultdict(list)
        for one in each:
            cells[one.cell].append(one)
        found += [_placement(one, len(one) > 1) for one in _merged(cells.values(), gap_s)]
    return sorted(found, key=_began)


def _runs(pictures: Sequence[Placed], gap_s: float) -> Iterable[list[Placed]]:
    run: list[Placed] = []
    for one in sorted(pictures, key=_time):
        if run and _time(one) - _time(run[-1]) > gap_s:
            yield run
            run = []
        run.append(one)
    yield run


def _merged(runs: Iterable[list[Placed]], gap_s: float) -> list[list[Placed]]:
    """Runs of neighboring cells become one where time and pose say that nothing was moved between them."""
    found: list[list[Placed]] = []
    near: list[list[Placed]] = []  # of them, those that did not end long before
    for run in sorted(runs, key=lambda one: _time(one[0])):
        near = [one for one in near if _time(run[0]) - _time(one[-1]) <= gap_s]
        if (before := next((one for one in near if _stands_as(one, run)), None)) is None:
            found.append(list(run))
            near.append(found[-1])
        else:
            for one in run:
                insort(before, one, key=_time)
    return found


def _stands_as(first: Sequence[Placed], second: Sequence[Placed]) -> bool:
    """The same sheet under the same light, as far away and as turned as one placement may seem to be."""
    if (first[0].sheet, first[0].cell.light) != (second[0].sheet, second[0].cell.light):
        return False
    far, turned, unsure = (
        [median(getattr(one.pose, name) for one in run[-_LATEST:]) for run in (first, second)]
        for name in ("distance_mm", "angle_deg", "angle_error_deg")
    )
    slack = max(_NEAR_DEG, 2 * max(unsure))
    return abs(far[0] - far[1]) <= _NEAR * max(far) and abs(turned[0] - turned[1]) <= slack


def _placement(pictures: Sequence[Placed], timeless: bool = False) -> Placement:
    cells = Counter(one.cell for one in pictures)
    cell = max(cells, key=lambda one: cells[one])  # the first of equals
    there = tuple(one if one.cell == cell else replace(one, cell=cell) for one in pictures)
    return Placement(pictures[0].sheet, cell, there, timeless)


def _film(pictures: Sequence[Placed]) -> Placement:
    cells = {one.cell for one in pictures}
    ordered = sorted(pictures, key=lambda one: one.picture.index or 0)
    return Placement(pictures[0].sheet, next(iter(cells)) if len(cells) == 1 else None, tuple(ordered))


def _time(one: Placed) -> float:
    return one.picture.taken_at or 0.0


def _began(placement: Placement) -> tuple[float, str]:
    first = placement.pictures[0]
    return _time(first), first.picture.file.name
