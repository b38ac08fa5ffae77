"""Where things are on a sheet, in millimetres: the object in the middle, an AprilTag beyond each of its corners.

A paper for a real object has a window for the patch in the place of the object, and no colour chart.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PageName = Literal["A4", "Letter"]
PAGES_MM: dict[PageName, tuple[float, float]] = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
SCALE_BAR_MM, _SHORT_BAR_MM = 100.0, 40.0
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
_PAPER_MARGIN = 5.0  # a paper on an object should cover little of it


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
        object_mm: width of what the tags stand around: the printed object, or the window of a paper.
        tag_mm: side of a tag's black square.
        object_height_mm: its height; None where it is as high as wide.
        origin_mm: its middle from the middle of the real object that the paper belongs to, (x, y), y down.
        is_paper: for a real object: a window, tags and scale bar, no colour chart, narrow margins.
        has_short_bar: of 40 mm instead of 100, which would make the paper of a small object wider than its tags do.
    """

    object_mm: float = 120.0
    tag_mm: float = 40.0
    object_height_mm: float | None = None
    origin_mm: tuple[float, float] = (0.0, 0.0)
    is_paper: bool = False
    has_short_bar: bool = False

    @property
    def gap(self) -> float:
        """White around a tag: a module and a half is more than detectors want."""
        return 1.5 * self.tag_mm / TAG_MODULES

    @property
    def width(self) -> float:
        """Of the whole sheet."""
        narrowest = self.scale_bar_mm + (0.0 if self.is_paper else 70.0)
        return max(self.object_mm, 2 * self.tag_mm + 2 * self.gap, narrowest) + 2 * self._margin

    @property
    def scale_bar_mm(self) -> float:
        """Length of the bar that is measured on the print."""
        return _SHORT_BAR_MM if self.has_short_bar else SCALE_BAR_MM

    @property
    def height(self) -> float:
        """Of the whole sheet."""
        bottom = self.object.top + self.object.height + self.gap + self.tag_mm + self.gap
        return bottom + (12.0 if self.is_paper else self._chart_height + 22.0)

    @property
    def object(self) -> Rect:
        """The object, between the rows of tags."""
        top = self._margin + self.tag_mm + self.gap
        height = self.object_mm if self.object_height_mm is None else self.object_height_mm
        return Rect((self.width - self.object_mm) / 2, top, self.object_mm, height)

    @property
    def tags(self) -> tuple[Rect, Rect, Rect, Rect]:
        """Upper left, upper right, lower right, lower left."""
        left, right = self._margin, self.width - self._margin - self.tag_mm
        top, bottom = self._margin, self.object.top + self.object.height + self.gap
        places = ((left, top), (right, top), (right, bottom), (left, bottom))
        first, second, third, fourth = (Rect(x, y, self.tag_mm, self.tag_mm) for x, y in places)
        return first, second, third, fourth

    @property
    def chart(self) -> tuple[Rect, ...]:
        """The 24 patches of the colour chart, in the order of CHART_RGB; none on a paper for a real object."""
        if self.is_paper:
            return ()
        side = self._chart_height / 2
        left = (self.width - _CHART_COLUMNS * side) / 2
        top = self.tags[2].top + self.tag_mm + self.gap
        places = ((k % _CHART_COLUMNS, k // _CHART_COLUMNS) for k in range(len(CHART_RGB)))
        return tuple(Rect(left + column * side, top + row * side, side, side) for column, row in places)

    @property
    def scale_bar(self) -> Rect:
        """To be measured on the print, `scale_bar_mm` wide."""
        return Rect(self._margin, self.height - (6.0 if self.is_paper else 12.0), self.scale_bar_mm, 1.0)

    @property
    def _margin(self) -> float:
        return _PAPER_MARGIN if self.is_paper else _MARGIN

    @property
    def _chart_height(self) -> float:
        return min(22.0, (self.width - 2 * _MARGIN) / _CHART_COLUMNS * 2)

    @property
    def middle(self) -> tuple[float, float]:
        """The object's middle, from the sheet's upper left corner; outside of a paper that stands beside the object."""
        return self.object.center[0] - self.origin_mm[0], self.object.center[1] - self.origin_mm[1]

    def tag_corners(self) -> NDArray[np.float32]:
        """(4 tags, 4 corners, 3): clockwise from the upper left, millimetres from the object's middle, z = 0."""
        x0, y0 = self.middle
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
