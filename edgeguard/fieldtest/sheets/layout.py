"""Where things are on a sheet, in millimetres: the object in the middle, an AprilTag beyond each of its corners."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PageName = Literal["A4", "Letter"]
PAGES_MM: dict[PageName, tuple[float, float]] = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
SCALE_BAR_MM = 100.0
#: A tag is a black border of one module around 6 x 6 bits.
TAG_MODULES = 8
#: 36h11 has 587 tags; a sheet takes four in a row.
SHEET_NUMBERS = 146
#: Six greys, then eighteen colours: half and full steps of the RGB cube.
CHART_RGB: tuple[tuple[int, int, int], ...] = (
    (255, 255, 255), (205, 205, 205), (155, 155, 155), (105, 105, 105), (55, 55, 55), (0, 0, 0),
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0),
    (128, 0, 0), (0, 128, 0), (0, 0, 128), (0, 128, 128), (128, 0, 128), (128, 128, 0),
    (255, 128, 128), (128, 255, 128), (128, 128, 255), (255, 192, 64), (64, 192, 255), (192, 64, 160),
)  # fmt: skip
_CHART_COLUMNS = 12
_MARGIN = 10.0


@dataclass(frozen=True)
class Rect:
    """A rectangle on the sheet, millimetres from its upper left corner, y down."""

    left: float
    top: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """(x, y)."""
        return self.left + self.width / 2, self.top + self.height / 2


@dataclass(frozen=True)
class Layout:
    """A sheet that holds an object of a given side, for one page or (where it is larger) for several.

    Attributes:
        object_mm: side of the square object.
        tag_mm: side of a tag's black square.
    """

    object_mm: float = 120.0
    tag_mm: float = 40.0

    @property
    def gap(self) -> float:
        """White around a tag: a module and a half is more than detectors want."""
        return 1.5 * self.tag_mm / TAG_MODULES

    @property
    def width(self) -> float:
        """Of the whole sheet."""
        return max(self.object_mm, 2 * self.tag_mm + 2 * self.gap, SCALE_BAR_MM + 70.0) + 2 * _MARGIN

    @property
    def height(self) -> float:
        """Of the whole sheet."""
        return self.object.top + self.object_mm + self.gap + self.tag_mm + self.gap + self._chart_height + 22.0

    @property
    def object(self) -> Rect:
        """The object, between the rows of tags."""
        top = _MARGIN + self.tag_mm + self.gap
        return Rect((self.width - self.object_mm) / 2, top, self.object_mm, self.object_mm)

    @property
    def tags(self) -> tuple[Rect, Rect, Rect, Rect]:
        """Upper left, upper right, lower right, lower left."""
        left, right = _MARGIN, self.width - _MARGIN - self.tag_mm
        top, bottom = _MARGIN, self.object.top + self.object_mm + self.gap
        places = ((left, top), (right, top), (right, bottom), (left, bottom))
        first, second, third, fourth = (Rect(x, y, self.tag_mm, self.tag_mm) for x, y in places)
        return first, second, third, fourth

    @property
    def chart(self) -> tuple[Rect, ...]:
        """The 24 patches of the colour chart, in the order of CHART_RGB."""
        side = self._chart_height / 2
        left = (self.width - _CHART_COLUMNS * side) / 2
        top = self.tags[2].top + self.tag_mm + self.gap
        places = ((k % _CHART_COLUMNS, k // _CHART_COLUMNS) for k in range(len(CHART_RGB)))
        return tuple(Rect(left + column * side, top + row * side, side, side) for column, row in places)

    @property
    def scale_bar(self) -> Rect:
        """100 mm, to be measured on the print."""
        return Rect(_MARGIN, self.height - 12.0, SCALE_BAR_MM, 1.0)

    @property
    def _chart_height(self) -> float:
        return min(22.0, (self.width - 2 * _MARGIN) / _CHART_COLUMNS * 2)

    def tag_corners(self) -> NDArray[np.float32]:
        """(4 tags, 4 corners, 3): clockwise from the upper left, millimetres from the object's middle, z = 0."""
        x0, y0 = self.object.center
        corners = [
            [
                (t.left - x0 + dx * t.width, t.top - y0 + dy * t.height, 0.0)
                for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))
            ]
            for t in self.tags
        ]
        return np.array(corners, np.float32)

    def fits(self, page: PageName) -> bool:
        """True where one page holds the sheet (with 4 mm that no printer reaches)."""
        width, height = PAGES_MM[page]
        return self.width <= width - 8 and self.height <= height - 8
