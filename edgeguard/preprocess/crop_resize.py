"""From a frame to the model's pixels: sanitise, crop and resize, in one pass of the native kernel where it can."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box
from edgeguard.dct.native_kernel import instruction_sets, sanitize_native, tensor_native
from edgeguard.dct.numpy_kernel import sanitize_frame
from edgeguard.dct.profile import GuardProfile
from edgeguard.jpeg.blocks import check_frame
from edgeguard.preprocess.area_resize import area_resize
from edgeguard.preprocess.geometry import InputSpec, PreprocessSpec, canvas, place


def sanitize(rgb: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame of any size: natively, or by the definition in numpy; the same bytes.

    Raises:
        ValueError: the frame has another shape or type.
    """
    check_frame(rgb)
    return sanitize_native(rgb, profile) if instruction_sets() else sanitize_frame(rgb, profile)


def crop_and_resize(
    rgb: NDArray[np.uint8],
    input_: InputSpec,
    preprocess: PreprocessSpec,
    *,
    profile: GuardProfile | None = None,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Crop an HxWx3 frame and resize it by area to the model's size, after sanitising it where a profile is given.

    Args:
        rgb: uint8, any size.
        input_: the model's width and height.
        preprocess: the crop; see `geometry.place`.
        profile: sanitise the frame first (only the blocks that count).
        signed: return the bytes of int8 levels minus 128.

    Returns:
        (h, w, 3). Frames smaller than the model are enlarged bilinearly (OpenCV).
    """
    check_frame(rgb)
    height, width = rgb.shape[:2]
    placement = place(width, height, input_, preprocess)
    out = canvas(input_, signed)
    target = out[slices(placement.target)]
    if placement.shrinks_at(1) and instruction_sets():
        tensor_native(rgb, profile, placement.source, target, signed=signed)
        return out
    frame = sanitize(rgb, profile) if profile else rgb
    pixels = _resize(frame[slices(placement.source)], placement.target.width, placement.target.height)
    target[:] = pixels ^ np.uint8(SIGN) if signed else pixels
    return out


def _resize(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if width <= frame.shape[1] and height <= frame.shape[0]:
        return area_resize(frame, width, height)
    import cv2

    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def slices(box: Box) -> tuple[slice, slice]:
    """The box as indices of rows and columns."""
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
