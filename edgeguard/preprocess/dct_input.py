"""Frames as the quantised DCT coefficients that a coefficient model reads: no inverse DCT, no colour conversion.

The tensor holds quantisation indices plus 128 (uint8; an int8 model takes the index itself), one DCT frequency a
channel in natural order, the planes of a 4:2:0 JPEG laid out like those of I420:

    rows 0 .. h/8 - 1            luma, one block a position
    rows h/8 .. 3h/16 - 1        Cb in the left half of the columns, Cr in the right half

An index times its step is the dequantised coefficient; the steps belong to the guard's profile, so a network's first
layer absorbs them and the guard is the quantiser of the input. A DC step of at least 8 makes every DC fit into 8 bits;
an AC index beyond -128..127 saturates.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import rgb_to_chroma, rgb_to_gray, upsample, ycbcr_to_rgb
from edgeguard.dct.dct_basis import DCT
from edgeguard.dct.dct_basis import quantize as nearest
from edgeguard.dct.integer_dct import forward_dct, inverse_dct, quantize
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import JpegError
from edgeguard.jpeg.blocks import BLOCK, join_blocks, split_blocks
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg
from edgeguard.jpeg.tables import Table, as_array
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import ContractSpec, InputSpec, PreprocessSpec, place, quantize_input
from edgeguard.preprocess.requantize import read_coefficients, requantized_frame

FREQUENCIES = BLOCK * BLOCK
MCU = 2 * BLOCK  # pixels of a 4:2:0 unit
BIAS = 128
#: So that every DC coefficient fits into 8 bits.
LEAST_DC_STEP = 8
_ONES: Table = (1,) * FREQUENCIES
#: Blocks of chroma, down and across, that become one of 4:2:0.
_REDUCED_BY = {"422": (2, 1), "444": (2, 2)}
_SAMPLINGS = ("420", "gray", *_REDUCED_BY)


def tensor_shape(width: int, height: int) -> tuple[int, int, int]:
    """Rows, columns and channels of the coefficients of a frame.

    Example:
        >>> tensor_shape(224, 224)
        (42, 28, 64)
    """
    return 3 * height // MCU, width // BLOCK, FREQUENCIES


def picture_size(rows: int, columns: int) -> tuple[int, int]:
    """Width and height of the picture behind a tensor of coefficients: the inverse of `tensor_shape`."""
    return columns * BLOCK, rows * MCU // 3


def frame_indices(rgb: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    """The tensor of a uint8 HxWx3 frame (sides multiples of 16): what a 4:2:0 JPEG coder would quantise.

    The integer transform of `dct.integer_dct`, chroma averaged as in `dct.color`.

    Example:
        >>> frame_indices(np.full((16, 16, 3), 128, np.uint8), GuardProfile.preset("jpeg:75"))[0, 0, :3]
        array([128, 128, 128], dtype=uint8)
    """
    return _packed(*frame_planes(rgb, profile))


def frame_planes(
    rgb: NDArray[np.uint8], profile: GuardProfile
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """The same as three planes of indices (rows, columns, 64) that nothing has cut to 8 bits."""
    planes = (rgb_to_gray(rgb), *rgb_to_chroma(rgb, 2, 2))
    found = []
    for plane, table in zip(planes, profile.component_tables, strict=True):
        exact = forward_dct(split_blocks(plane[:, :, None]), level_shifted=True)
        indices = quantize(exact, as_array(table)[:, :, None, None, None])[..., 0]
        found.append(indices.reshape(FREQUENCIES, *indices.shape[2:]).transpose(1, 2, 0))
    return found[0], found[1], found[2]


def picture(tensor: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    """The RGB picture that a tensor stands for: what `sanitize` makes of the frame, if no index was saturated."""
    rows, columns = tensor.shape[0] * 2 // 3, tensor.shape[1]
    half = columns // 2
    indices = tensor.astype(np.int32) - BIAS
    planes = []
    for part, table in zip(
        (indices[:rows], indices[rows:, :half], indices[rows:, half:]), profile.component_tables, strict=True
    ):
        blocks = part.transpose(2, 0, 1).reshape(BLOCK, BLOCK, *part.shape[:2])
        pixels = inverse_dct(blocks, as_array(table)[:, :, None, None], level_shifted=True)
        planes.append(join_blocks(pixels[..., None])[:, :, 0])
    luma, cb, cr = planes
    return ycbcr_to_rgb(luma, *(upsample(plane, 2, 2, *luma.shape) for plane in (cb, cr)))


def frame_coefficients(
    rgb: NDArray[np.uint8], contract: ContractSpec, profile: GuardProfile | None
) -> NDArray[np.generic]:
    """A frame of any size to a coefficient model's tensor: crop, resize, transform, quantise with the profile's steps.

    Raises:
        ValueError: there is no profile.
    """
    pixels = crop_and_resize(rgb, contract.input, contract.preprocess)
    return quantize_input(frame_indices(pixels, _needed(profile)), contract.input, contract.preprocess)


def jpeg_coefficients(data: bytes, contract: ContractSpec, profile: GuardProfile | None) -> NDArray[np.generic]:
    """A JPEG to a coefficient model's tensor: its own coefficients requantised, if it has the model's size.

    Otherwise the requantised frame is decoded, cropped, resized and transformed again.

    Raises:
        JpegError: the bytes are not a JPEG that we read, or they end early.
    """
    info, profile = read_whole_jpeg(data), _needed(profile)
    if not is_at_model_size(info, contract.input, contract.preprocess):
        return frame_coefficients(requantized_frame(data, profile), contract, profile)
    return quantize_input(jpeg_indices(data, info, profile), contract.input, contract.preprocess)


def jpeg_indices(data: bytes, info: JpegInfo, profile: GuardProfile) -> NDArray[np.uint8]:
    """The tensor of a JPEG (sides multiples of 16): its own coefficients, requantised with the profile's tables.

    Chroma of 4:2:2 and 4:4:4 files is averaged to 4:2:0 without leaving the DCT domain; gray files have none.

    Raises:
        JpegError: the file does not decode, or its sampling is another one.
    """
    if info.sampling not in _SAMPLINGS:
        raise JpegError("only 4:2:0, 4:2:2, 4:4:4 and gray JPEGs become coefficients")
    if info.sampling == "420":
        return _packed(*read_coefficients(data, info, profile.component_tables))
    planes = read_coefficients(data, info, (_ONES,) * 3)  # indices under steps of 1 are the coefficients
    tables = profile.component_tables
    luma = _requantized(planes[0], tables[0])
    if info.sampling == "gray":
        chroma = np.zeros((luma.shape[0] // 2, luma.shape[1] // 2, FREQUENCIES), np.int16)
        return _packed(luma, chroma, chroma)
    down, across = _REDUCED_BY[info.sampling]
    cb, cr = (_requantized(averaged(p, down, across), t) for p, t in zip(planes[1:], tables[1:], strict=True))
    return _packed(luma, cb, cr)


def is_at_model_size(info: JpegInfo, input_: InputSpec, preprocess: PreprocessSpec) -> bool:
    """True where the JPEG's own blocks can be the model's: nothing is turned, cropped or resized."""
    if (
        info.sampling not in _SAMPLINGS
        or info.orientation != 1
        or (info.width, info.height) != (input_.width, input_.height)
    ):
        return False
    placement = place(info.width, info.height, input_, preprocess)
    return placement.source == placement.target


def averaged(blocks: NDArray[np.generic], down: int, across: int) -> NDArray[np.float64]:
    """Blocks (rows, columns, 64) of coefficients to those of the plane averaged over 2x1 or 2x2 pixels: each `down` x
    `across` blocks become one. Linear, since averaging and the DCT are."""
    rows, columns = blocks.shape[0] // down, blocks.shape[1] // across
    parts = blocks.reshape(rows, down, columns, across, BLOCK, BLOCK).astype(np.float64)
    vertical, horizontal = _reduction(down), _reduction(across)
    return np.einsum("aui,rucvij,bvj->rcab", vertical, parts, horizontal, optimize=True).reshape(rows, columns, -1)


@cache
def _reduction(count: int) -> NDArray[np.float64]:
    """[a, u, i]: what coefficient i of part u gives to coefficient a of the averaged signal."""
    if count == 1:
        return np.eye(BLOCK)[:, None, :]
    samples = np.zeros((count * BLOCK, count, BLOCK))
    for part in range(count):
        samples[part * BLOCK : (part + 1) * BLOCK, part] = DCT.T
    means = samples.reshape(BLOCK, count, count, BLOCK).mean(axis=1)
    return np.asarray(np.einsum("ap,pui->aui", DCT, means))


def _requantized(coefficients: NDArray[np.generic], table: Table) -> NDArray[np.float64]:
    """Indices of exact coefficients (rows, columns, 64), half away from zero."""
    return nearest(coefficients.astype(np.float64), np.array(table, np.int32))


def _needed(profile: GuardProfile | None) -> GuardProfile:
    if profile is None:
        raise ValueError("a coefficient model has no input without its guard's profile")
    return profile


def _packed(luma: NDArray[np.generic], cb: NDArray[np.generic], cr: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Indices (rows, columns, 64) of the three planes as the tensor."""
    rows, columns = luma.shape[:2]
    out = np.empty((rows + rows // 2, columns, FREQUENCIES), np.uint8)
    half = columns // 2
    for target, plane in ((out[:rows], luma), (out[rows:, :half], cb), (out[rows:, half:], cr)):
        target[:] = np.clip(plane, -BIAS, BIAS - 1) + BIAS
    return out
