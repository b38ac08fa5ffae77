"""From placed pictures to passes: which photographs show one placement of one sheet."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeguard.fieldtest.session.arms import is_recorded_pass
from edgeguard.fieldtest.session.look import Picture
from edgeguard.fieldtest.session.place import Corners
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.sheets.tags import Pose


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

    Args:
        placed: pictures with pose.
        gap_s: seconds.
    """
    films: dict[str, list[Placed]] = defaultdict(list)
    photographs: dict[tuple[int, Cell], list[Placed]] = defaultdict(list)
    timeless: dict[tuple[int, Cell, tuple[str, ...]], list[Placed]] = defaultdict(list)
    for one in placed:
        if one.picture.index is not None:
            films[f"{one.picture.key.split('#')[0]} {one.sheet}"].append(one)
        elif one.picture.taken_at is not None:
            photographs[one.sheet, one.cell].append(one)
        else:
            timeless[one.sheet, one.cell, one.picture.file.folders].append(one)
    found = [_film(pictures) for pictures in films.values()]
    found += [
        Placement(sheet, cell, tuple(run)) for (sheet, cell), each in photographs.items() for run in _runs(each, gap_s)
    ]
    found += [
        Placement(sheet, cell, tuple(each), len(each) > 1 and not is_recorded_pass(folders))
        for (sheet, cell, folders), each in timeless.items()
    ]
    return sorted(found, key=_began)


def _runs(pictures: Sequence[Placed], gap_s: float) -> Iterable[list[Placed]]:
    run: list[Placed] = []
    for one in sorted(pictures, key=_time):
        if run and _time(one) - _time(run[-1]) > gap_s:
            yield run
            run = []
        run.append(one)
    yield run


def _film(pictures: Sequence[Placed]) -> Placement:
    cells = {one.cell for one in pictures}
    ordered = sorted(pictures, key=lambda one: one.picture.index or 0)
    return Placement(pictures[0].sheet, next(iter(cells)) if len(cells) == 1 else None, tuple(ordered))


def _time(one: Placed) -> float:
    return one.picture.taken_at or 0.0


def _began(placement: Placement) -> tuple[float, str]:
    first = placement.pictures[0]
    return _time(first), first.picture.file.name
