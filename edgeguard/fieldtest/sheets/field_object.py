"""The object of a field test: a bundled card, or a real thing of known size with or without a picture of it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError

#: How the object comes before the camera. `sheet`: printed, between its tags. `on`: the real thing, a paper with tags
#: and a window for the patch is fixed on it. `beside`: the paper stands next to it. `none`: no paper, no tags.
Mount = Literal["sheet", "on", "beside", "none"]
MOUNTS: tuple[Mount, ...] = get_args(Mount)
#: The rectangle, clockwise from the upper left: where no outline is known.
FULL_OUTLINE = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
SMALLEST_MM, LARGEST_MM = 10.0, 5000.0
_MOST_CORNERS = 512


@dataclass(frozen=True)
class FieldObject:
    """What is attacked and found: its label, its true size, its outline, and which picture of it is known.

    Attributes:
        name: as the user calls it; sheets of one object share it (`Sheet.object`).
        label: the right answer, as the model's labels name it.
        width_mm, height_mm: of the box around its outline, seen from the front.
        outline: its corners, shares of width and height from the box's middle, y down, -0.5..0.5.
        mount: how it comes before the camera.
        picture_sha256: of the pixels of its picture (`object.png`, without anything on it); None where none is known.

    Example:
        >>> FieldObject("my sign", "stop", 600.0, 600.0).outline_mm()[0].tolist()
        [-300.0, -300.0]
    """

    name: str
    label: str
    width_mm: float
    height_mm: float
    outline: tuple[tuple[float, float], ...] = FULL_OUTLINE
    mount: Mount = "sheet"
    picture_sha256: str | None = None

    def outline_mm(self) -> NDArray[np.float64]:
        """(n, 2): the outline in millimetres from the object's middle, y down."""
        return np.array(self.outline, np.float64) * (self.width_mm, self.height_mm)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a sheet's manifest, patch.json and plan.json."""
        return asdict(self)


def parse_field_object(data: Any) -> FieldObject:
    """An object from plain data.

    Raises:
        ValueError, TypeError, KeyError: it is none, or a length is out of range.
    """
    outline = tuple((float(x), float(y)) for x, y in data["outline"])
    found = FieldObject(**{**data, "outline": outline})
    if found.mount not in MOUNTS:
        raise ValueError(f"an object's mount is one of {', '.join(MOUNTS)}")
    if not 3 <= len(outline) <= _MOST_CORNERS or max(abs(v) for point in outline for v in point) > 0.5 + 1e-6:
        raise ValueError(f"an outline has 3 to {_MOST_CORNERS} corners within the object's box")
    check_size(found.width_mm, found.height_mm)
    return found


def check_size(width_mm: float, height_mm: float) -> None:
    """Refuse sizes that no object of a field test has.

    Raises:
        InputError: a side is out of range.
    """
    if not all(SMALLEST_MM <= side <= LARGEST_MM for side in (width_mm, height_mm)):
        raise InputError(
            f"an object of {width_mm:g} x {height_mm:g} mm: sides are {SMALLEST_MM:g} to {LARGEST_MM:g} mm"
        )
