"""Corners that somebody marked on a page: kept in the session, so that nobody marks a photograph twice."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeguard.errors import InputError
from edgeguard.fieldtest.session.place import goes_around
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_regular

FILE = "marks.json"
SCHEMA = 1
_LARGEST = 64 << 20
_FAR = 4.0  # a corner may lie beyond the picture, not further than so many of its sides


@dataclass(frozen=True)
class Mark:
    """What was marked on one picture.

    Attributes:
        kind: `corners` (four of the object's rectangle, clockwise from its upper left), `box` (upper left and lower
            right around an object that stands upright), or `none`: the object is not in the picture.
        points: in shares of the picture's width and height, so that the size of the page does not matter.
        sheet: number of the sheet, where the folder does not say it.
    """

    kind: Literal["corners", "box", "none"]
    points: tuple[tuple[float, float], ...] = ()
    sheet: int | None = None


def parse_mark(data: Any) -> Mark:
    """A mark from plain data; for use within `parsing`.

    Raises:
        ValueError: it is none.
    """
    wanted = {"corners": 4, "box": 2, "none": 0}
    if not isinstance(data, dict) or data.get("kind") not in wanted:
        raise ValueError("a mark is corners, a box or none")
    points = tuple((float(x), float(y)) for x, y in data.get("points", ()))
    if len(points) != wanted[data["kind"]]:
        raise ValueError(f"{data['kind']} wants {wanted[data['kind']]} points")
    if any(not math.isfinite(v) or abs(v) > _FAR for point in points for v in point):
        raise ValueError("a point is far outside of the picture")
    if data["kind"] == "box" and (points[1][0] <= points[0][0] or points[1][1] <= points[0][1]):
        raise ValueError("a box goes from its upper left to its lower right corner")
    if data["kind"] == "corners" and not goes_around(points):
        raise ValueError("the four corners go around the object, clockwise from its upper left")
    sheet = data.get("sheet")
    if sheet is not None and not isinstance(sheet, int):
        raise ValueError("a sheet is a number")
    return Mark(data["kind"], points, sheet)


def read_marks(folder: Path) -> dict[str, Mark]:
    """The marks of a session, by the picture's key; none where nothing was marked.

    Raises:
        InputError: the file is damaged or of another version.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return {}
    with parsing(str(path)):
        data = foreign_json(read_regular(path, _LARGEST, "the marks"))
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise InputError(f"{path} is not a file of marks of version {SCHEMA}")
        return {str(key): parse_mark(one) for key, one in data["marks"].items()}


def write_marks(folder: Path, marks: dict[str, Mark]) -> None:
    """Write `marks.json`, whole or not at all."""
    data = {"schema": SCHEMA, "marks": {key: asdict(mark) for key, mark in marks.items()}}
    write_bytes(folder / FILE, (json.dumps(data, indent=1) + "\n").encode())
