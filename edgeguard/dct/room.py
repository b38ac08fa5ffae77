"""Levels that travel with room: 0..255 as room..255 - room, so that pass 1 does not clip."""

import numpy as np
from numpy.typing import NDArray


def without_room(levels: NDArray[np.uint8], room: int) -> NDArray[np.uint8]:
    """room..255 - room as 0..255, to the nearest level: the picture as its camera saw it.

    Example:
        >>> without_room(np.array([16, 128, 239], np.uint8), 16).tolist()
        [0, 128, 255]
    """
    if room == 0:
        return levels
    widened = np.rint((np.arange(256) - room) * (255 / (255 - 2 * room)))
    return np.asarray(np.clip(widened, 0, 255).astype(np.uint8)[levels])
