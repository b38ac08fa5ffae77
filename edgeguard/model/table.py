"""A FlatBuffers table in bytes from outside: every access is checked against the data's length."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgeguard.errors import InputError


class TruncatedModelError(InputError):
    """The file ends before the structures that it announces."""


@dataclass(frozen=True)
class Table:
    """A table at a position of `data`. Fields have the numbers of the schema; one that is left out reads as 0 or empty.

    Every method raises `TruncatedModelError` where the bytes end before what they announce.

    Example:
        >>> Table(b"", 0).field(0)
        Traceback (most recent call last):
        edgeguard.model.table.TruncatedModelError: the .tflite is truncated or damaged
    """

    data: bytes
    start: int

    @classmethod
    def root(cls, data: bytes) -> "Table":
        """The table that a file begins with."""
        return cls(data, scalar(data, 0, "<I"))

    def field(self, number: int) -> int | None:
        """The position of a field's value, or None where the writer left it at its default."""
        vtable = self.start - scalar(self.data, self.start, "<i")
        size = scalar(self.data, vtable, "<H")
        slot = 4 + 2 * number
        if slot + 2 > size:
            return None
        offset = scalar(self.data, vtable + slot, "<H")
        return self.start + offset if offset else None

    def number(self, number: int, layout: str) -> int:
        """A scalar in a layout of `struct`; 0 by default."""
        position = self.field(number)
        return 0 if position is None else scalar(self.data, position, layout)

    def vector(self, number: int, size: int = 1) -> tuple[int, int]:
        """The position of a vector's first element, and how many elements of `size` bytes it has."""
        position = self.field(number)
        if position is None:
            return 0, 0
        start = position + scalar(self.data, position, "<I")
        length = scalar(self.data, start, "<I")
        if start + 4 + length * size > len(self.data):
            raise TruncatedModelError("the .tflite is truncated or damaged")
        return start + 4, length

    def bytes(self, number: int) -> bytes:
        """A vector of bytes, or a text."""
        start, length = self.vector(number)
        return self.data[start : start + length]

    def integers(self, number: int) -> list[int]:
        """A vector of int32."""
        return self.numbers(number, "i")

    def numbers(self, number: int, layout: str) -> list[int]:
        """A vector of scalars of one letter of `struct`."""
        start, length = self.vector(number, struct.calcsize(f"<{layout}"))
        return list(struct.unpack_from(f"<{length}{layout}", self.data, start))

    def table(self, number: int) -> "Table | None":
        """The table that a field points at."""
        position = self.field(number)
        return None if position is None else Table(self.data, position + scalar(self.data, position, "<I"))

    def tables(self, number: int) -> Iterator["Table"]:
        """A vector of tables."""
        start, length = self.vector(number, 4)
        for position in range(start, start + 4 * length, 4):
            yield Table(self.data, position + scalar(self.data, position, "<I"))

    def element(self, number: int, index: int) -> "Table | None":
        """One of a vector of tables, or None beyond its end."""
        start, length = self.vector(number, 4)
        if not 0 <= index < length:
            return None
        position = start + 4 * index
        return Table(self.data, position + scalar(self.data, position, "<I"))


def scalar(data: bytes, position: int, layout: str) -> int:
    """A scalar of a layout of `struct` at a position.

    Raises:
        TruncatedModelError: it is not inside the data.
    """
    try:
        if position < 0:
            raise struct.error
        return int(struct.unpack_from(layout, data, position)[0])
    except (struct.error, OverflowError) as error:
        raise TruncatedModelError("the .tflite is truncated or damaged") from error
