"""The one decoder for images whose coefficients are not requantised."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.system.foreign import MAX_PIXELS

_FORMATS = ("PNG", "BMP", "WEBP", "TIFF", "GIF")  # beside JPEG; OpenCV would read a dozen more
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000  # of a PNG; encoders write at least 8 KiB into each


def decode_rgb(data: bytes, scale: int = 1) -> NDArray[np.uint8]:
    """Decode an image file (JPEG, PNG, BMP, WebP, TIFF) to RGB at 1/scale (1, 2 or 4); OpenCV applies EXIF orientation.

    Raises:
        JpegError: the bytes do not decode, a JPEG among them ends early, or they are more work than the limits of
            `jpeg.header` allow.
    """
    import cv2

    if data[:2] == b"\xff\xd8":
        read_whole_jpeg(data)
    else:
        _check_size(data)
    mode = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[scale]
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    except cv2.error:  # OpenCV raises on sizes beyond its own limits
        bgr = None
    if bgr is None:
        raise JpegError("the image does not decode")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def _check_size(data: bytes) -> None:
    """Refuse a file of another format by its header: a few kilobytes can claim gigabytes of pixels."""
    import io
    import warnings

    from PIL import Image, UnidentifiedImageError

    if data.startswith(_PNG):
        _check_chunks(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise JpegError(f"refused: more pixels than the limit of {MAX_PIXELS >> 20} megapixels") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, TypeError, ArithmeticError, LookupError) as error:
        raise JpegError("the image does not decode") from error
    if width * height > MAX_PIXELS:
        raise JpegError(f"refused: {width}x{height} pixels are more than the limit of {MAX_PIXELS >> 20} megapixels")


def _check_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk that goes beyond its end: OpenCV takes memory for all that a chunk says of itself."""
    at = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length  # length, kind and checksum
        if at > len(data):
            raise JpegError("the image does not decode: it ends early")
        if kind == b"IEND" or at == len(data):
            return
    raise JpegError(f"refused: a PNG of more than {_MOST_CHUNKS} parts")
