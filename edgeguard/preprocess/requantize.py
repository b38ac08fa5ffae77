"""Pass 2 on JPEG bytes: their own coefficients go onto the profile's grid.

It must work on the received *coefficients*: decoded 4:2:0 pixels are not on pass 1's grid any more, because fancy
upsampling followed by box downsampling is no identity. libjpeg-turbo does it inside its decoder (`libjpeg.py`); where
it or the native library is missing, jpeglib writes a requantised file and OpenCV decodes it, with the same result.
"""

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct import libjpeg
from edgeguard.dct.boxes import SIGN
from edgeguard.dct.native_kernel import instruction_sets, load_failure
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import JpegError
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.exif import turned
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg
from edgeguard.jpeg.tables import Table, as_array
from edgeguard.preprocess.area_resize import area_resize
from edgeguard.preprocess.crop_resize import crop_and_resize, slices
from edgeguard.preprocess.geometry import InputSpec, PreprocessSpec, canvas, place

#: Frames may be decoded at 1/1, 1/2 or 1/4 of their size.
SCALES = (1, 2, 4)
_OVERSAMPLING = 1.5


def requantize(indices: NDArray[np.int16], source: Table, target: Table) -> NDArray[np.int16]:
    """Coefficient indices under the source table to indices under the target table, half away from zero, exactly.

    `indices` is (..., 8, 8), natural order. Values beyond what Huffman coding can carry (only a forged file has
    them) are clamped.
    """
    steps = as_array(target).astype(np.int64)
    levels = indices.astype(np.int64) * as_array(source)
    magnitude = (2 * np.abs(levels) + steps) // (2 * steps)
    return np.clip(np.where(levels < 0, -magnitude, magnitude), -1023, 1023).astype(np.int16)


def decode_scale(info: JpegInfo, input_: InputSpec) -> int:
    """The smallest decoded size (the largest of 1, 2, 4) whose short side is at least 1.5 times the model's size.

    Example:
        >>> from types import SimpleNamespace as S
        >>> [decode_scale(S(width=w, height=h), S(width=224, height=224)) for w, h in ((640, 480), (1920, 1080))]
        [1, 2]
    """
    short, wanted = min(info.width, info.height), _OVERSAMPLING * max(input_.width, input_.height)
    return max((scale for scale in SCALES if short / scale >= wanted), default=1)


def requantized_frame(data: bytes, profile: GuardProfile, scale: int = 1) -> NDArray[np.uint8]:
    """Requantise a JPEG and decode it at 1/scale to RGB. EXIF orientation is applied.

    Raises:
        JpegError: the bytes are not a JPEG that we read, they end early, or no coefficient codec is there.
    """
    info = read_whole_jpeg(data)
    if libjpeg.libjpeg_path() is None:
        return decode_rgb(_requantize_with_jpeglib(data, info, profile), scale)
    return turned(libjpeg.frame_native(data, info, profile, scale), info.orientation)


def requantized_tensor(
    data: bytes,
    profile: GuardProfile,
    input_: InputSpec,
    preprocess: PreprocessSpec,
    scale: int | None = None,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Requantise a JPEG, decode it at 1/scale, crop and resize it to the model's pixels (h, w, 3); `signed`: minus 128.

    In one go inside the decoder where the frame needs no turning, else in steps; the same bytes. The crop is that of
    the whole frame whatever the scale.

    Args:
        data: a whole JPEG.
        profile: a `ycbcr*` profile.
        input_, preprocess: the model's.
        scale: 1, 2 or 4, by default `decode_scale`; less where the crop would have to be enlarged.
        signed: return the bytes of int8 levels minus 128.

    Raises:
        JpegError: as `requantized_frame`.
    """
    info = read_whole_jpeg(data)
    width, height = (info.height, info.width) if info.orientation >= 5 else (info.width, info.height)
    placement = place(width, height, input_, preprocess)
    scale = scale or decode_scale(info, input_)
    while scale > 1 and not placement.shrinks_at(scale):
        scale //= 2
    if not placement.shrinks_at(scale):
        return crop_and_resize(requantized_frame(data, profile), input_, preprocess, signed=signed)
    out = canvas(input_, signed)
    target = out[slices(placement.target)]
    if libjpeg.libjpeg_path() is not None and info.orientation == 1:
        libjpeg.tensor_native(data, info, profile, scale, placement.source, target, signed=signed)
        return out
    frame = requantized_frame(data, profile, scale)
    pixels = area_resize(frame, placement.target.width, placement.target.height, placement.source, scale)
    target[:] = pixels ^ np.uint8(SIGN) if signed else pixels
    return out


def read_coefficients(data: bytes, info: JpegInfo, tables: tuple[Table, Table, Table]) -> list[NDArray[np.int16]]:
    """The coefficients of each component as indices under these tables, (rows, columns, 64) in natural order.

    Rows and columns are those of the blocks that hold pixels.

    Raises:
        JpegError: as `requantized_frame`.
    """
    if libjpeg.libjpeg_path() is not None:
        return libjpeg.indices_native(data, info, tables)
    planes = [
        requantize(plane, source, target)
        for plane, source, target in zip(_components(_read_dct(data, info), info), info.tables, tables, strict=False)
    ]
    return [plane.reshape(*plane.shape[:2], -1) for plane in planes]


def missing_native_parts(profile: GuardProfile) -> str | None:
    """One line where slower code serves for this profile, with the same bytes."""
    if not instruction_sets():
        failure = load_failure()
        why = "was not built" if failure is None else f"cannot be loaded ({failure})"
        return f"the native kernel {why}: numpy sanitizes, with the same bytes and many times slower"
    if not profile.is_pixel_domain and libjpeg.libjpeg_path() is None:
        return f"{libjpeg.SONAME} was not found: JPEGs are requantized through jpeglib's files, with the same bytes"
    return None


def requantize_jpeg(data: bytes, profile: GuardProfile) -> bytes:
    """A JPEG with the same picture on the profile's quantisation grid; sampling and EXIF orientation are kept.

    Raises:
        JpegError: the colours are not gray or YCbCr, or no coefficient codec is installed.
    """
    info = read_whole_jpeg(data)
    if libjpeg.libjpeg_path() is None:
        return _requantize_with_jpeglib(data, info, profile)
    return libjpeg.file_native(data, info, profile)


def _requantize_with_jpeglib(data: bytes, info: JpegInfo, profile: GuardProfile) -> bytes:
    coded = _read_dct(data, info)
    planes = _components(coded, info)
    tables = profile.component_tables[: len(planes)]
    planes = [requantize(p, s, t) for p, s, t in zip(planes, info.tables, tables, strict=True)]
    coded.Y = planes[0]
    if len(planes) == 3:
        coded.Cb, coded.Cr = planes[1], planes[2]
    coded.qt = np.stack([as_array(table).astype(np.uint16) for table in tables])
    coded.quant_tbl_no = np.arange(len(planes), dtype=np.int32)
    coded.markers = [m for m in coded.markers if m.type.name != "JPEG_APP0"]  # the writer adds its own JFIF
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        target = Path(folder) / "requantised.jpg"
        coded.write_dct(str(target))
        return target.read_bytes()


def _read_dct(data: bytes, info: JpegInfo) -> Any:
    """jpeglib's picture of a file's coefficients."""
    jpeglib = _jpeglib()
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as folder:
        source = Path(folder) / "received.jpg"
        source.write_bytes(data)
        try:
            coded = jpeglib.read_dct(str(source))
            planes = _components(coded, info)
        except (OSError, AttributeError, ValueError) as error:
            raise JpegError(f"the JPEG's coefficients cannot be read: {error}") from error
    if coded.jpeg_color_space.name not in ("JCS_YCbCr", "JCS_GRAYSCALE") or any(p is None for p in planes):
        raise JpegError(f"unsupported JPEG: color space {coded.jpeg_color_space.name}, only YCbCr and gray are read")
    return coded


def _components(coded: Any, info: JpegInfo) -> list[NDArray[np.int16]]:
    return [coded.Y] if info.sampling == "gray" else [coded.Y, coded.Cb, coded.Cr]


def _jpeglib() -> ModuleType:
    try:
        import jpeglib
    except ImportError as error:
        raise JpegError(
            "this JPEG has to be requantized, which needs the native library and libjpeg.so.62 (see edgeguard doctor) "
            "or the jpeglib package; or use an rgb profile such as fd"
        ) from error
    return jpeglib
