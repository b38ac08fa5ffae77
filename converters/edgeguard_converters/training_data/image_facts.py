"""What a manifest keeps of one image: hashes of its bytes and of its pixels, how it is coded, what it looks like."""

import hashlib
import io
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.tables import ANNEX_K_LUMA, Table, ijg_qualities

_SIDE, _KEPT = 32, 8
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")


@dataclass(frozen=True)
class ImageFacts:
    """Of one file.

    Attributes:
        size_bytes: of the file.
        sha256: of its bytes, in hexadecimal; None where they cannot be read.
        pixels_sha256: of `HEIGHTxWIDTHx3`, a line feed and the decoded RGB bytes; None where it does not decode.
        width, height: of the decoded picture, pixels.
        channels: as the file has them: L, RGB, RGBA, P, CMYK, I;16 and so on.
        format: JPEG, PNG, BMP, WEBP, TIFF or GIF.
        quality: the IJG quality that makes a JPEG's luma table; None for other tables and formats.
        sampling: a JPEG's chroma subsampling.
        phash: 64-bit perceptual hash, 16 hexadecimal digits.
        fault: why it cannot be read or decoded; None for a sound file.
    """

    size_bytes: int
    sha256: str | None
    pixels_sha256: str | None = None
    width: int | None = None
    height: int | None = None
    channels: str | None = None
    format: str | None = None
    quality: int | None = None
    sampling: str | None = None
    phash: str | None = None
    fault: str | None = None

    @property
    def coding(self) -> str:
        """Format and quality in words: `JPEG 75 4:2:0`, `PNG`."""
        if self.format != "JPEG":
            return self.format or "unknown"
        return f"JPEG {'other tables' if self.quality is None else self.quality} {self.sampling}"


def image_facts(content: bytes | str) -> ImageFacts:
    """Facts of a file's bytes; a text instead says why they cannot be had.

    Example:
        >>> image_facts(b"no image").fault
        'the image does not decode'
    """
    if isinstance(content, str):
        return ImageFacts(0, None, fault=content)
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        pixels = decode_whole(content)
        form, channels, quality, sampling = _coding(content)
    except (InputError, OSError, ValueError) as error:
        return ImageFacts(len(content), sha256, fault=" ".join(str(error).split())[:160])
    height, width = pixels.shape[:2]
    return ImageFacts(
        len(content), sha256, pixels_sha256(pixels), width, height, channels, form, quality, sampling,
        f"{perceptual_hash(pixels):016x}",
    )  # fmt: skip


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """The SHA-256 of a picture, (h, w, 3), whatever file it came from."""
    height, width = pixels.shape[:2]
    return hashlib.sha256(f"{height}x{width}x3\n".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """64 signs of low frequencies against their median: pictures that look alike differ in few bits.

    Luma as Pillow has it, 32x32 by Lanczos, DCT-II, the low 8x8, row by row, the highest bit first: the layout of the
    package imagehash (`phash`).

    Args:
        pixels: uint8 (h, w, 3).
    """
    small = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    rows = _cosines()
    low = (rows @ np.asarray(small, np.float64) @ rows.T).ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


@cache
def _cosines() -> NDArray[np.float64]:
    """The first rows of the unnormalised DCT-II of 32 points."""
    frequencies, points = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    return 2 * np.cos(np.pi * frequencies * (2 * points + 1) / (2 * _SIDE))


def _coding(content: bytes) -> tuple[str, str, int | None, str | None]:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        form, channels = str(image.format), image.mode
    if form != "JPEG":
        return form, channels, None, None
    info = read_jpeg_info(content)
    return form, channels, _quality(info.tables[0]), info.sampling


@lru_cache(maxsize=256)
def _quality(luma: Table) -> int | None:
    return max(ijg_qualities(luma, ANNEX_K_LUMA), default=None)
