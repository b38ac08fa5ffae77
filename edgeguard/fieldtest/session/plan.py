"""The plan of a field test: which sheets, where they stand, how often; and how many passes an interval wants."""

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.sheet import ARMS, Sheet, parse_sheet
from edgeguard.statistics import wilson
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_regular

SCHEMA = 1
_DISTANCE_TOLERANCE = 0.12
_ANGLE_TOLERANCE_DEG = 7.5
_LARGEST = 8 << 20  # bytes of plan.json
FARTHEST_MM = 1e6  # of a sheet; nothing of it is seen there
_MOST_PASSES = 100_000  # of all sheets in all cells: eleven days, if a placement takes ten seconds


@dataclass(frozen=True)
class Cell:
    """One position under one light."""

    distance_mm: float
    angle_deg: float
    light: str


@dataclass(frozen=True)
class Plan:
    """What a session records.

    Attributes:
        session: random name; frames of another session are refused by it.
        sheets: one for each arm and object, with different numbers.
        distances_mm, angles_deg, lights: the grid.
        passes: placements of each sheet in each cell.
        frames: stored frames of each pass.
        model_sha256, profile_sha256: what is tested (a session may be scored with other models as well; it says so).
        field_of_view_deg: across, of the camera.
        print_scale: measured length of the 100 mm bar / 100.
    """

    session: str
    sheets: tuple[Sheet, ...]
    distances_mm: tuple[float, ...]
    angles_deg: tuple[float, ...]
    lights: tuple[str, ...]
    passes: int
    frames: int
    model_sha256: str | None
    profile_sha256: str | None
    field_of_view_deg: float
    print_scale: float = 1.0
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in plan.json."""
        return {**asdict(self), "sheets": [sheet.to_dict() for sheet in self.sheets]}

    def cells(self) -> list[Cell]:
        """All positions, light by light, so that it is switched rarely."""
        return [Cell(d, a, light) for light in self.lights for d in self.distances_mm for a in self.angles_deg]

    def sheet(self, number: int) -> Sheet | None:
        """The sheet whose tags carry a number."""
        return next((sheet for sheet in self.sheets if sheet.number == number), None)

    def cell_at(self, distance_mm: float, angle_deg: float, angle_error_deg: float, light: str) -> Cell | None:
        """The cell that a pose belongs to, or None between them.

        A frontal angle is known badly: a pose counts as frontal while its angle is within two standard deviations.
        """
        distance = min(self.distances_mm, key=lambda d: abs(d - distance_mm))
        angle = min(self.angles_deg, key=lambda a: abs(a - angle_deg))
        slack = max(_ANGLE_TOLERANCE_DEG, 2 * angle_error_deg if angle == 0 else 0.0)
        if abs(distance - distance_mm) > _DISTANCE_TOLERANCE * distance or abs(angle - angle_deg) > slack:
            return None
        return Cell(distance, angle, light)

    def nearest_cell(self, distance_mm: float, angle_deg: float, light: str) -> Cell:
        """For a drive-by, whose frames are binned where they fall."""
        distance = min(self.distances_mm, key=lambda d: abs(d - distance_mm))
        return Cell(distance, min(self.angles_deg, key=lambda a: abs(a - angle_deg)), light)


def make_plan(
    sheets: Sequence[Sheet],
    distances_mm: Sequence[float],
    angles_deg: Sequence[float],
    lights: Sequence[str],
    passes: int,
    *,
    frames: int = 5,
    model_sha256: str | None = None,
    profile_sha256: str | None = None,
    field_of_view_deg: float = 62.2,
    print_scale: float = 1.0,
) -> Plan:
    """A plan with a new session name.

    Raises:
        InputError: sheets that share a number, a patch without its clean object, or empty or double values.
    """
    _refuse_sheets(sheets)
    targets = {sheet.model_sha256 for sheet in sheets if sheet.model_sha256 is not None}
    if model_sha256 is not None and targets - {model_sha256}:
        raise InputError("a patch was made for another model than the one that is tested")
    for name, values in (("distance", distances_mm), ("angle", angles_deg), ("light", lights)):
        if not values or len(set(values)) != len(values):
            raise InputError(f"a plan wants at least one {name}, each once")
    if min(angles_deg) < 0:
        raise InputError("an angle is measured without its side: plan 0 to 90 degrees")
    if not 0.8 <= print_scale <= 1.25:
        raise InputError(f"a print scale of {print_scale:g} is no print of these sheets: 0.8 to 1.25")
    plan = Plan(
        secrets.token_hex(8), tuple(sheets), tuple(sorted(distances_mm)), tuple(sorted(angles_deg)), tuple(lights),
        passes, frames, model_sha256, profile_sha256, field_of_view_deg, print_scale,
    )  # fmt: skip
    _refuse_too_many(plan, "the plan")
    taken = {*ARMS, *(str(sheet.number) for sheet in sheets)}
    if named := [light for light in lights if light.strip().casefold() in taken]:
        raise InputError(f"a light is called {named[0]}, as an arm or a sheet's number is: give it another name")
    try:
        _check_positions(distances_mm, angles_deg, lights)
    except ValueError as error:
        raise InputError(str(error)) from error
    return plan


def _refuse_sheets(sheets: Sequence[Sheet]) -> None:
    """Sheets that cannot stand in one plan.

    Raises:
        InputError: two share a number, one has no clean sheet, or two objects share a name.
    """
    numbers = [sheet.number for sheet in sheets]
    for place, sheet in enumerate(sheets):
        if (first := numbers.index(sheet.number)) != place:
            both = " and ".join(f"{one.object}, {one.arm}" for one in (sheets[first], sheet))
            raise InputError(f"two sheets carry the same tags ({both}): make one of them with another --number")
    for sheet in sheets:
        clean = [other for other in sheets if other.object == sheet.object and other.arm == "clean"]
        if not clean:
            raise InputError(f"there is no clean sheet of {sheet.object!r}: without it no success can be counted")
        if any(other.about != sheet.about for other in clean):
            raise InputError(f"two different objects are called {sheet.object!r}, or one is mounted in two ways")


def passes_for_interval(width: float, rate: float = 0.5) -> int:
    """The smallest number of passes whose Wilson 95 % interval is at most so wide (0..1) at a rate.

    Example:
        >>> passes_for_interval(0.19)
        103
    """
    if not 0.01 <= width <= 1:
        raise InputError(f"an interval of {100 * width:g} points cannot be planned: 1 to 100")
    n = 1
    while (interval := wilson(round(rate * n), n))[1] - interval[0] > width:
        n += 1
    return n


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `plan.json`."""
    write_bytes(folder / "plan.json", (json.dumps(plan.to_dict(), indent=1) + "\n").encode())


def read_plan(folder: Path) -> Plan:
    """Read `plan.json` of a session's folder.

    Raises:
        InputError: not there, damaged, or of another version.
    """
    path = folder / "plan.json"
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{folder} is not a session: it holds no {path.name}; edgeguard fieldtest plan makes one")
    with parsing(str(path)):
        data = foreign_json(read_regular(path, _LARGEST, "the plan"))
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        schema = data.get("schema") if isinstance(data, dict) else None
        raise InputError(f"{path} has version {schema!r}; this version reads {SCHEMA}")
    with parsing(str(path)):
        plan = _parse(data, str(path))
    _refuse_too_many(plan, str(path))
    with parsing(str(path)):
        _check_positions(plan.distances_mm, plan.angles_deg, plan.lights)
    return plan


def _refuse_too_many(plan: Plan, what: str) -> None:
    """Each pass of a plan costs memory and a look with each frame, so their number is bounded before any is listed."""
    factors = (plan.distances_mm, plan.angles_deg, plan.lights, plan.sheets)
    wanted = math.prod(map(len, factors)) * plan.passes
    if wanted > _MOST_PASSES:
        raise InputError(f"{what} wants {wanted} passes, more than {_MOST_PASSES}: fewer positions, sheets or passes")


def _check_positions(distances_mm: Sequence[float], angles_deg: Sequence[float], lights: Sequence[str]) -> None:
    """Lights name folders, and a distance is divided by.

    Raises:
        ValueError: saying what cannot be.
    """
    if not all(0 < distance <= FARTHEST_MM for distance in distances_mm):
        raise ValueError(f"a distance is above 0 and at most {FARTHEST_MM:g} mm")
    if not all(-90 < angle < 90 for angle in angles_deg):
        raise ValueError("an angle is between -90 and 90 degrees")
    for light in lights:
        if not light.strip(". ") or len(light) > 60 or not light.isprintable() or set(light) & set('/\\:*?"<>|'):
            raise ValueError(f"the light {light[:60]!r} cannot name a folder: letters, digits, - and _")


def _parse(data: dict[str, Any], origin: str) -> Plan:
    from msgspec import convert

    convert(data, Plan)  # for the types alone: values stay as they are written
    sheets = tuple(parse_sheet(sheet, origin) for sheet in data["sheets"])
    lists = {key: tuple(float(v) for v in data[key]) for key in ("distances_mm", "angles_deg")}
    plan = Plan(**{**data, **lists, "sheets": sheets, "lights": tuple(data["lights"])})
    if not (plan.distances_mm and plan.angles_deg and plan.lights and plan.sheets):
        raise ValueError("a plan wants at least one sheet, distance, angle and light")
    if min(plan.passes, plan.frames) < 1 or not 0 < plan.field_of_view_deg < 180 or not 0.8 <= plan.print_scale <= 1.25:
        raise ValueError("passes, frames, field of view or print scale is out of range")
    return plan
