"""Where a JPEG ends in a stream of bytes that goes on: by its segments, for a thumbnail in it has an end of its own."""

import re

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # B.1.1.5: these belong to the scan
_EOI, _SOS = 0xD9, 0xDA
_ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))  # markers without a segment


class JpegEnd:
    r"""Finds the end of a JPEG that arrives piece by piece; each byte is looked at once.

    Example:
        >>> end = JpegEnd()
        >>> end.find(b"\xff\xd8\xff\xe0\x00\x04"), end.find(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9more")
        (None, 10)
    """

    def __init__(self) -> None:
        self._position, self._in_scan = 2, False

    def find(self, data: bytes | bytearray) -> int | None:
        """The position behind the EOI marker.

        Args:
            data: everything from the SOI marker on; grows from call to call.

        Returns:
            None where it has not arrived yet.
        """
        while True:
            found = (_MARKER_IN_SCAN if self._in_scan else _MARKER).search(data, self._position)
            if found is None:
                self._position = max(len(data) - 1, self._position)  # the last byte may be half a marker
                return None
            marker, behind = data[found.end() - 1], found.end()
            if marker == _EOI:
                return behind
            if marker in _ALONE:
                self._position = behind
                continue
            self._position, self._in_scan = found.start(), False
            if behind + 2 > len(data):
                return None
            end = behind + int.from_bytes(data[behind : behind + 2], "big")
            if end > len(data):
                return None
            self._position, self._in_scan = end, marker == _SOS
