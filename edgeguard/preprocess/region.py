"""A region of interest on the codec's grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError


@dataclass(frozen=True)
class Region:
    """A rectangle of the received frame, in its pixels. Pass 2 runs on the whole frame's grid; the crop comes after."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Region":
        """`X,Y,WIDTH,HEIGHT`.

        Raises:
            InputError: something else, or an empty rectangle.

        Example:
            >>> Region.parse("10,20,300,200").snapped(16)
            Region(x=0, y=16, width=320, height=208)
        """
        try:
            x, y, width, height = (int(part) for part in text.split(","))
        except ValueError as error:
            raise InputError(f"a region is X,Y,WIDTH,HEIGHT in pixels, got {text!r}") from error
        if x < 0 or y < 0 or width < 1 or height < 1:
            raise InputError(f"a region starts at 0 or more and is not empty, got {text!r}")
        return cls(x, y, width, height)

    def snapped(self, grid: int) -> "Region":
        """Grown to whole cells of the grid (8 pixels; 16 where chroma is halved)."""
        left, top = self.x // grid * grid, self.y // grid * grid
        right = -(-(self.x + self.width) // grid) * grid
        bottom = -(-(self.y + self.height) // grid) * grid
        return Region(left, top, right - left, bottom - top)

    def size_within(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what it covers of a frame of this size."""
        return min(self.width, width - self.x), min(self.height, height - self.y)

    def of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of the frame that it covers.

        Raises:
            InputError: it covers nothing of a frame of this size.
        """
        part = frame[self.y : self.y + self.height, self.x : self.x + self.width]
        if not part.size:
            raise InputError(f"the region starts at {self.x},{self.y}, outside {frame.shape[1]}x{frame.shape[0]}")
        return np.ascontiguousarray(part)
