"""Twelve printable cards with road-sign-like pictograms, drawn by this code and by nothing else."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]

SIDE = 512
_SUPERSAMPLING = 4
_RED, _BLUE, _YELLOW = (204, 24, 34), (18, 82, 176), (250, 196, 20)
_WHITE, _BLACK = (255, 255, 255), (20, 20, 20)


class _Pen:
    """Draws on a square of side 1 with the origin in the middle, x to the right, y down."""

    def __init__(self) -> None:
        side = SIDE * _SUPERSAMPLING
        self.canvas = np.full((side, side, 3), 255, np.uint8)

    def polygon(self, points: list[tuple[float, float]], color: Color) -> None:
        cv2.fillPoly(self.canvas, [self._pixels(points)], color)

    def circle(self, x: float, y: float, radius: float, color: Color) -> None:
        center = self._pixels([(x, y)])[0]
        cv2.circle(self.canvas, (int(center[0]), int(center[1])), round(radius * len(self.canvas)), color, -1)

    def bar(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        w, h = width / 2, height / 2
        self.polygon([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], color)

    def line(self, points: list[tuple[float, float]], width: float, color: Color) -> None:
        thickness = round(width * len(self.canvas))
        cv2.polylines(self.canvas, [self._pixels(points)], False, color, thickness)
        for x, y in points:  # round ends and joints
            self.circle(x, y, width / 2, color)

    def regular(self, corners: int, radius: float, turn_deg: float, color: Color, y: float = 0.0) -> None:
        angles = np.deg2rad(turn_deg + 360 / corners * np.arange(corners))
        self.polygon([(radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles], color)

    def picture(self) -> Picture:
        return np.asarray(cv2.resize(self.canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)

    def _pixels(self, points: list[tuple[float, float]]) -> NDArray[np.int32]:
        return np.rint((np.array(points) + 0.5) * len(self.canvas)).astype(np.int32)


def _arrow(pen: _Pen, turn: int) -> None:
    """A white arrow on the pen's canvas, up when turn is 0, then clockwise in quarter turns."""
    shape = [(-0.065, 0.26), (-0.065, -0.04), (-0.2, -0.04), (0, -0.28), (0.2, -0.04), (0.065, -0.04), (0.065, 0.26)]
    for _ in range(turn):
        shape = [(-y, x) for x, y in shape]
    pen.polygon(shape, _WHITE)


def _stop(pen: _Pen) -> None:
    pen.regular(8, 0.46, 22.5, _RED)
    pen.bar(-0.16, 0, 0.13, 0.36, _WHITE)
    pen.bar(0.16, 0, 0.13, 0.36, _WHITE)


def _no_entry(pen: _Pen) -> None:
    pen.circle(0, 0, 0.45, _RED)
    pen.bar(0, 0, 0.64, 0.17, _WHITE)


def _yield(pen: _Pen) -> None:
    pen.regular(3, 0.53, 90, _RED, y=-0.1)
    pen.regular(3, 0.29, 90, _WHITE, y=-0.1)


def _danger(pen: _Pen) -> None:
    pen.regular(3, 0.53, -90, _BLACK, y=0.1)
    pen.regular(3, 0.44, -90, _YELLOW, y=0.1)
    pen.bar(0, 0.03, 0.08, 0.26, _BLACK)
    pen.circle(0, 0.24, 0.05, _BLACK)


def _priority(pen: _Pen) -> None:
    pen.regular(4, 0.47, 0, _BLACK)
    pen.regular(4, 0.42, 0, _YELLOW)


def _round_arrow(turn: int) -> Callable[[_Pen], None]:
    def draw(pen: _Pen) -> None:
        pen.circle(0, 0, 0.45, _BLUE)
        _arrow(pen, turn)

    return draw


def _crossing(pen: _Pen) -> None:
    pen.bar(0, 0, 0.86, 0.86, _BLUE)
    pen.polygon([(0, -0.36), (0.36, 0.3), (-0.36, 0.3)], _WHITE)
    pen.circle(0.0, -0.13, 0.055, _BLACK)
    pen.line([(0, -0.06), (0, 0.1)], 0.06, _BLACK)
    pen.line([(0, 0.1), (-0.1, 0.25)], 0.05, _BLACK)
    pen.line([(0, 0.1), (0.1, 0.25)], 0.05, _BLACK)


def _hospital(pen: _Pen) -> None:
    pen.bar(0, 0, 0.86, 0.86, _BLUE)
    pen.bar(0, 0, 0.62, 0.62, _WHITE)
    pen.bar(0, 0, 0.5, 0.16, _RED)
    pen.bar(0, 0, 0.16, 0.5, _RED)


def _forbidden(pen: _Pen) -> None:
    pen.circle(0, 0, 0.45, _RED)
    pen.circle(0, 0, 0.33, _WHITE)
    pen.line([(-0.24, -0.24), (0.24, 0.24)], 0.09, _RED)


def _end(pen: _Pen) -> None:
    pen.circle(0, 0, 0.45, _BLACK)
    pen.circle(0, 0, 0.41, _WHITE)
    for offset in (-0.12, 0.0, 0.12):
        pen.line([(-0.2 + offset, 0.2 + offset), (0.2 + offset, -0.2 + offset)], 0.05, _BLACK)


_DRAWERS: dict[str, Callable[[_Pen], None]] = {
    "stop": _stop,
    "no entry": _no_entry,
    "yield": _yield,
    "danger": _danger,
    "priority": _priority,
    "left": _round_arrow(3),
    "right": _round_arrow(1),
    "ahead": _round_arrow(0),
    "crossing": _crossing,
    "hospital": _hospital,
    "forbidden": _forbidden,
    "end of limits": _end,
}

#: The cards' names; the classifier's output 0 is "background", output i + 1 is CARDS[i].
CARDS: tuple[str, ...] = tuple(_DRAWERS)
LABELS: tuple[str, ...] = ("background", *CARDS)


def draw_card(name: str) -> Picture:
    """A card as a square RGB picture of 512 pixels, white margin included.

    Example:
        >>> draw_card("stop").shape
        (512, 512, 3)
    """
    pen = _Pen()
    _DRAWERS[name](pen)
    return pen.picture()
