"""Noticing that a picture never changes: a camera that hangs may send its last picture for ever."""

import time
from dataclasses import replace

import numpy as np

from edgeguard.camera.source import Captured
from edgeguard.png.frame import read_png_info

_SCAN = b"\xff\xda"
_COARSE = 16  # pixels; a picture that differs mostly differs in this sample


class PictureClock:
    r"""For how long the picture has been the same to the last bit. Headers (times, seals) are no picture.

    Example:
        >>> clock = PictureClock()
        >>> one = Captured(0, "c", b"\xff\xd8 7:00 \xff\xda picture", None, 0.0, "received")
        >>> two = Captured(1, "c", b"\xff\xd8 7:01 \xff\xda picture", None, 0.0, "received")
        >>> clock.saw(one, now=1.0), clock.saw(two, now=4.0), clock.same_for_s(now=6.0)
        (None, None, 5.0)
    """

    def __init__(self) -> None:
        self._last: Captured | None = None
        self._since = 0.0
        self._again = False

    def saw(self, captured: Captured, now: float | None = None) -> None:
        """A frame arrived."""
        if self._last is not None and _same(self._last, captured):
            self._again = True
            return
        self._last, self._again = captured, False
        self._since = time.monotonic() if now is None else now

    def saw_nothing_new(self) -> None:
        """The camera says that the picture is the last one."""
        self._again = self._last is not None

    def same_for_s(self, now: float | None = None) -> float:
        """Seconds since the picture first came; 0 while it came once only."""
        if not self._again:
            return 0.0
        return (time.monotonic() if now is None else now) - self._since


def _same(one: Captured, other: Captured) -> bool:
    if one.jpeg is not None and other.jpeg is not None:
        starts = one.jpeg.find(_SCAN), other.jpeg.find(_SCAN)
        if min(starts) < 0:
            return one.jpeg == other.jpeg
        if len(one.jpeg) - starts[0] != len(other.jpeg) - starts[1]:
            return False
        return one.jpeg[starts[0] :] == other.jpeg[starts[1] :]
    if one.png is not None and other.png is not None:
        return replace(read_png_info(one.png), extra=None) == replace(read_png_info(other.png), extra=None)
    if one.sound is not None and other.sound is not None:
        return np.array_equal(one.sound.samples, other.sound.samples)
    if one.rgb is None or other.rgb is None or one.rgb.shape != other.rgb.shape:
        return False
    coarse = slice(None, None, _COARSE)
    return np.array_equal(one.rgb[coarse, coarse], other.rgb[coarse, coarse]) and np.array_equal(one.rgb, other.rgb)
