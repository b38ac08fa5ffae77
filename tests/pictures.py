"""Pictures that tests read: there, or the test ends here."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def read_bgr(path: Path | str) -> NDArray[np.uint8]:
    """The pixels of an image file, (h, w, 3) in OpenCV's order."""
    return _there(cv2.imread(str(path)))


def decode_bgr(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an image in memory, (h, w, 3) in OpenCV's order."""
    return _there(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def _there(found: object) -> NDArray[np.uint8]:
    assert isinstance(found, np.ndarray)
    return found
