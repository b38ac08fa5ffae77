"""JPEG with our tables, as pass 1 writes it, and the one decoder for everything that is not requantised."""

import io

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.header import JpegError, JpegInfo, read_whole_jpeg


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


def encode_jpeg(rgb: NDArray[np.uint8], profile: GuardProfile) -> bytes:
    """Code a frame as a real JPEG with a `ycbcr*` profile's tables, verbatim: pass 1.

    Raises:
        ValueError: an `rgb` or `gray` profile, which JPEG's colour transform cannot express.
    """
    from PIL import Image

    if profile.is_pixel_domain:
        raise ValueError(f"a {profile.color} profile is not JPEG; use a ycbcr one (fd-jpeg, jpeg:Q)")
    subsampling = {"ycbcr444": 0, "ycbcr422": 1, "ycbcr420": 2}[profile.color]
    buffer = io.BytesIO()
    tables = [list(table) for table in profile.tables]  # Pillow takes natural order
    Image.fromarray(rgb).save(buffer, "JPEG", qtables=tables, subsampling=subsampling)
    return buffer.getvalue()


def coded_with(info: JpegInfo, profile: GuardProfile) -> bool:
    """True when a JPEG's tables and subsampling are the profile's: its coefficients are exact multiples."""
    if profile.color != f"ycbcr{info.sampling}":
        return False
    return info.tables == profile.component_tables
