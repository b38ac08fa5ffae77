"""The decoder that every guard shares. It judges whether a JPEG is whole: what is missing is an error, the odd is not.

OpenCV fills what is missing with gray and says so on the terminal only. libjpeg-turbo tells a warning of lost data from
a harmless one (bytes between markers, an unknown version), and gives the same pixels.
"""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct import libjpeg
from edgeguard.errors import JpegError
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.exif import turned
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg

_BROAD_STEPS = 255
#: What libjpeg is not asked for here, though the file may be sound: OpenCV decodes it.
_OTHER = ("its colors are not YCbCr or gray", "it has more than 64 scans")


def decode_whole(data: bytes, scale: int = 1) -> NDArray[np.uint8]:
    r"""Decode a JPEG that is all there to RGB at 1/scale (1, 2 or 4); its EXIF orientation is applied.

    Files of other formats go to `jpeg.decode.decode_rgb`. So do JPEGs where the native library or libjpeg is missing:
    what is missing in the middle of their data is not seen then.

    Raises:
        JpegError: the bytes do not decode, something of the picture is missing, or they are more work than the limits
            of `jpeg.header` allow.

    Example:
        >>> decode_whole(b"\xff\xd8\xff\xd9")
        Traceback (most recent call last):
        edgeguard.errors.JpegError: broken JPEG: it has no frame header
    """
    if data[:2] != b"\xff\xd8":
        return decode_rgb(data, scale)
    info = read_whole_jpeg(data)
    if libjpeg.libjpeg_path() is None or _has_broad_steps(info):
        return decode_rgb(data, scale)
    try:
        return turned(libjpeg.decode_native(data, info, scale), info.orientation)
    except JpegError as error:
        if any(text in str(error) for text in _OTHER):
            return decode_rgb(data, scale)
        raise


def _has_broad_steps(info: JpegInfo) -> bool:
    return any(max(table) > _BROAD_STEPS for table in info.tables)
