"""Colors of the classes of a segmentation: the same in a film and on the page."""

import numpy as np
from numpy.typing import NDArray

#: In turn, from class 1 on. Class 0 is nearly always the background: it is not drawn.
_COLORS = np.array(
    [
        (230, 80, 60), (60, 140, 230), (240, 200, 60), (150, 80, 220), (60, 200, 190), (240, 130, 200),
        (120, 190, 60), (250, 150, 40), (90, 90, 250), (170, 110, 60), (40, 150, 90), (200, 40, 130),
    ],
    np.uint8,
)  # fmt: skip


def color_of(index: int) -> tuple[int, int, int] | None:
    """RGB of a class; None for class 0, which is not drawn.

    Example:
        >>> color_of(0), color_of(1), color_of(1) == color_of(13)
        (None, (230, 80, 60), True)
    """
    if index <= 0:
        return None
    red, green, blue = (int(level) for level in _COLORS[(index - 1) % len(_COLORS)])
    return red, green, blue


def colored(classes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Class numbers (h, w) as RGBA (h, w, 4): opaque colors, and nothing where class 0 is.

    Example:
        >>> colored(np.array([[0, 1]])).tolist()
        [[[0, 0, 0, 0], [230, 80, 60, 255]]]
    """
    rgba = np.zeros((*classes.shape, 4), np.uint8)
    drawn = classes > 0
    rgba[drawn, :3] = _COLORS[(classes[drawn] - 1) % len(_COLORS)]
    rgba[drawn, 3] = 255
    return rgba
