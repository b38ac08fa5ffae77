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
