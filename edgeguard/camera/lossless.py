"""The frames of an `edgeguard sensor` that sends them without loss: sealed PNGs, from its stream or from a file."""

import time

from edgeguard.camera.source import Captured, Lost
from edgeguard.errors import JpegError
from edgeguard.jpeg.seal import is_sealed_png
from edgeguard.png.frame import SIGNATURE, read_png_info


def is_png(data: bytes) -> bool:
    """True for what begins as a PNG.

    Example:
        >>> is_png(b"GIF89a")
        False
    """
    return data[: len(SIGNATURE)] == SIGNATURE


def from_png(index: int, source: str, data: bytes, at: float | None = None, clock: str = "received") -> Captured | Lost:
    """A sensor's PNG as a frame that keeps its bytes, or `Lost` when it is damaged or no sensor's.

    Size, structure and checksums are looked at here; the pixels are decoded by who needs them.
    """
    try:
        if not is_sealed_png(data):
            raise JpegError("a PNG without the seal of an edgeguard sensor")
        read_png_info(data)
    except JpegError as error:
        return Lost(index, source, str(error))
    taken_at = time.time() if at is None else at
    return Captured(index, source, None, None, taken_at, "source" if clock == "source" else "received", data)
