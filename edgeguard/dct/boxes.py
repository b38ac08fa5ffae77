"""Rectangles of pixels, and the sign of int8 levels, as the native library takes them."""

from dataclasses import dataclass

#: A level with this bit flipped is the byte of the int8 level minus 128.
SIGN = 0x80


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels."""

    left: int
    top: int
    width: int
    height: int

    def on_grid(self, width: int, height: int, cell: int = 8) -> "Box":
        """The cells of a grid that it touches, cut at the sides of a frame of this size; empty beside the frame.

        Example:
            >>> Box(3, 10, 20, 8).on_grid(100, 20)
            Box(left=0, top=8, width=24, height=12)
        """
        left, top = max(self.left, 0) // cell * cell, max(self.top, 0) // cell * cell
        right = min(-(-(self.left + self.width) // cell) * cell, width)
        bottom = min(-(-(self.top + self.height) // cell) * cell, height)
        return Box(left, top, max(right - left, 0), max(bottom - top, 0))
