"""JPEG with our tables: pass 1 writes it, pass 2 requantises the received coefficients.

Pass 2 must work on the received *coefficients*: decoded 4:2:0 pixels are not on pass 1's grid any more, because
fancy upsampling followed by box downsampling is no identity.
"""

import io
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.jpeg_header import JpegError, JpegInfo, read_whole_jpeg
from edgeguard.guard.profile import GuardProfile
from edgeguard.guard.tables import Table, as_array

#: APP9 payload of a JPEG that pass 1 made at a sensor: this tag, then the profile's SHA-256 in hexadecimal.
SENSOR_APP, SENSOR_TAG = 9, b"EdgeGuard\0"


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """Decode an image file (JPEG, PNG, ...) to RGB. The one decoder of the whole product: OpenCV's.

    Raises:
        JpegError: the bytes do not decode, or a JPEG among them ends early.
    """
    import cv2

    if data[:2] == b"\xff\xd8":
        read_whole_jpeg(data)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # OpenCV raises on sizes beyond its own limits
        bgr = None
    if bgr is None:
        raise JpegError("the image does not decode")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)


def encode_jpeg(rgb: NDArray[np.uint8], profile: GuardProfile, *, sensor: bool = False) -> bytes:
    """Code a frame as a real JPEG with a `ycbcr*` profile's tables, verbatim: pass 1.

    With `sensor`, an APP9 segment carries the profile's hash.

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
    data = buffer.getvalue()
    if not sensor:
        return data
    payload = SENSOR_TAG + profile.sha256.encode()
    segment = bytes([0xFF, 0xE0 + SENSOR_APP]) + (len(payload) + 2).to_bytes(2, "big") + payload
    return data[:2] + segment + data[2:]


def coded_with(info: JpegInfo, profile: GuardProfile) -> bool:
    """True when a JPEG's tables and subsampling are the profile's: its coefficients are exact multiples."""
    if profile.color != f"ycbcr{info.sampling}":
        return False
    return info.tables == profile.component_tables


def sensor_profile(info: JpegInfo) -> str | None:
    """The profile hash that a sensor wrote into its APP9 segment, or None."""
    for number, payload in info.app_segments:
        if number == SENSOR_APP and payload.startswith(SENSOR_TAG):
            return payload[len(SENSOR_TAG) :].decode("ascii", "replace")
    return None


def requantise(indices: NDArray[np.int16], source: Table, target: Table) -> NDArray[np.int16]:
    """Coefficient indices under the source table to indices under the target table, half away from zero, exactly.

    `indices` is (..., 8, 8), natural order. Values beyond what Huffman coding can carry (only a forged file has
    them) are clamped.
    """
    steps = as_array(target).astype(np.int64)
    levels = indices.astype(np.int64) * as_array(source)
    magnitude = (2 * np.abs(levels) + steps) // (2 * steps)
    return np.clip(np.where(levels < 0, -magnitude, magnitude), -1023, 1023).astype(np.int16)


def requantise_jpeg(data: bytes, profile: GuardProfile) -> bytes:
    """A JPEG with the same picture on the profile's quantisation grid; sampling and EXIF orientation are kept.

    Raises:
        JpegError: the colours are not gray or YCbCr, or no coefficient codec is installed.
    """
    jpeglib = _coefficient_codec()
    info = read_whole_jpeg(data)
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        source, target = Path(folder) / "received.jpg", Path(folder) / "requantised.jpg"
        source.write_bytes(data)
        try:
            coded = jpeglib.read_dct(str(source))
            planes = [coded.Y] if info.sampling == "gray" else [coded.Y, coded.Cb, coded.Cr]
        except (OSError, AttributeError, ValueError) as error:
            raise JpegError(f"the JPEG's coefficients cannot be read: {error}") from error
        if coded.jpeg_color_space.name not in ("JCS_YCbCr", "JCS_GRAYSCALE") or any(p is None for p in planes):
            raise JpegError(
                f"unsupported JPEG: colour space {coded.jpeg_color_space.name}, only YCbCr and gray are read"
            )
        tables = profile.component_tables[: len(planes)]
        planes = [requantise(p, s, t) for p, s, t in zip(planes, info.tables, tables, strict=True)]
        coded.Y = planes[0]
        if len(planes) == 3:
            coded.Cb, coded.Cr = planes[1], planes[2]
        coded.qt = np.stack([as_array(table).astype(np.uint16) for table in tables])
        coded.quant_tbl_no = np.arange(len(planes), dtype=np.int32)
        coded.markers = [m for m in coded.markers if m.type.name != "JPEG_APP0"]  # the writer adds its own JFIF
        coded.write_dct(str(target))
        return target.read_bytes()


def _coefficient_codec() -> ModuleType:
    try:
        import jpeglib
    except ImportError as error:
        raise JpegError(
            "this JPEG has to be requantised, which needs the jpeglib package (x86-64 wheels only); "
            "let pass 1 use the profile's tables, or use an rgb profile such as fd"
        ) from error
    return jpeglib
