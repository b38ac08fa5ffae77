"""The one decoder for images whose coefficients are not requantised."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.jpeg.header import read_whole_jpeg


def decode_rgb(data: bytes, scale: int = 1) -> NDArray[np.uint8]:
    """Decode an image file (JPEG, PNG, ...) to RGB at 1/scale (1, 2 or 4); OpenCV applies EXIF orientation.

    Raises:
        JpegError: the bytes do not decode, or a JPEG among them ends early.
    """
    import cv2

    if data[:2] == b"\xff\xd8":
        read_whole_jpeg(data)
    mode = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[scale]
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    except cv2.error:  # OpenCV raises on sizes beyond its own limits
        bgr = None
    if bgr is None:
        raise JpegError("the image does not decode")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
