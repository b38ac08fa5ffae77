"""Where the sign on a card is: what a detector's boxes are measured by."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.scene.cards import SIDE, draw_card

#: Left, top, right, bottom in pixels.
Box = tuple[float, float, float, float]
_PAPER = 250


@cache
def sign_outline(card: str) -> NDArray[np.float32]:
    """The convex hull of a card's pictogram, (n, 2), in shares of the card's side from its middle, y down.

    Example:
        >>> bool(np.abs(sign_outline("stop")).max() < 0.5)
        True
    """
    inked = (draw_card(card) < _PAPER).any(axis=2)
    points = np.argwhere(inked)[:, ::-1].astype(np.int32)
    hull = cv2.convexHull(points)[:, 0].astype(np.float32)
    return np.asarray((hull + 0.5) / SIDE - 0.5, np.float32)


def box_around(points: NDArray[np.float32], width: int, height: int) -> Box | None:
    """The box that holds points (n, 2) of a picture, cut at its edges; None where nothing is left."""
    left, top = (float(v) for v in np.clip(points.min(axis=0), 0, (width, height)))
    right, bottom = (float(v) for v in np.clip(points.max(axis=0), 0, (width, height)))
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else None


def card_box(card: str, corners: NDArray[np.float32], width: int, height: int) -> Box | None:
    """The box of the sign on a card whose four corners (clockwise from the upper left) are seen in a picture.

    Args:
        card: its name.
        corners: (4, 2) pixels.
        width, height: of the picture.
    """
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], np.float32)
    matrix = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    seen = cv2.perspectiveTransform(sign_outline(card)[None], matrix)[0]
    return box_around(np.asarray(seen, np.float32), width, height)
