"""The one decoder for images whose coefficients are not requantised."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.system.foreign import MAX_PIXELS

_FORMATS = ("PNG", "BMP", "WEBP", "TIFF", "GIF")  # beside JPEG; OpenCV would read a dozen more
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_KNOWN_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"})
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
        data = checked_file(data)
    mode = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[scale]
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    except cv2.error:  # OpenCV raises on sizes beyond its own limits
        bgr = None
    if bgr is None:
        raise JpegError("the image does not decode")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def checked_file(data: bytes) -> bytes:
    """A picture that is no JPEG as a decoder may see it; it is judged by its header, which may claim gigabytes.

    Raises:
        JpegError: it is of no format that is read, has more pixels than the limit, or is not all there.
    """
    import io
    import warnings

    from PIL import Image, UnidentifiedImageError

    if data.startswith(_PNG):
        data = _known_chunks(data)
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
    if data.startswith(_PNG) and not data.endswith(_PNG_END):
        raise JpegError("the image does not decode: it ends early")
    return data


def _known_chunks(data: bytes) -> bytes:
    """A PNG of its picture, colors, transparency and orientation alone.

    libpng writes what it thinks of others to the terminal, with the names that the file gives them. A chunk that goes
    beyond the file's end is refused: OpenCV takes memory for all that a chunk says of itself.
    """
    view, at = memoryview(data), len(_PNG)
    kept: list[bytes | memoryview] = [_PNG]
    for _ in range(_MOST_CHUNKS):
        length, kind = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        whole = view[at : at + 12 + length]  # length, kind and checksum
        at += 12 + length
        if at > len(data):
            raise JpegError("the image does not decode: it ends early")
        if kind in _KNOWN_CHUNKS:
            kept.append(whole)
        elif kind[:1].isupper():  # nobody may leave it out
            raise JpegError("the image does not decode: it has a part of a kind that is not known")
        if kind == b"IEND" or at == len(data):
            return data if at == len(data) == sum(map(len, kept)) else b"".join(kept)
    raise JpegError(f"refused: a PNG of more than {_MOST_CHUNKS} parts")
