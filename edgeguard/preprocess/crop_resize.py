"""From a frame to the model's pixels: sanitise, crop and resize, in one pass of the native kernel where it can."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box
from edgeguard.dct.native_kernel import instruction_sets, sanitize_native, tensor_native
from edgeguard.dct.numpy_kernel import sanitize_frame
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.jpeg.blocks import check_frame
from edgeguard.preprocess.area_resize import area_resize
from edgeguard.preprocess.geometry import InputSpec, PreprocessSpec, canvas, place


def sanitize(rgb: NDArray[np.uint8], profile: GuardProfile, which: Pass = "only") -> NDArray[np.uint8]:
    """Sanitise a uint8 HxWx3 frame of any size: natively, or by the definition in numpy; the same bytes.

    Args:
        rgb: the levels of the camera, or for `second` what pass 1 gave.
        profile: of any colour.
        which: which pass it is. What `first` gives keeps the profile's room; the others give the camera's levels.

    Raises:
        ValueError: the frame has another shape or type.
    """
    check_frame(rgb)
    return sanitize_native(rgb, profile, which=which) if instruction_sets() else sanitize_frame(rgb, profile, which)


def crop_and_resize(
    rgb: NDArray[np.uint8],
    input_: InputSpec,
    preprocess: PreprocessSpec,
    *,
    profile: GuardProfile | None = None,
    which: Pass = "only",
    signed: bool = False,
    margins: NDArray[np.uint16] | None = None,
) -> NDArray[np.uint8]:
    """Crop an HxWx3 frame and resize it by area to the model's size, after sanitising it where a profile is given.

    Args:
        rgb: uint8, any size.
        input_: the model's width and height.
        preprocess: the crop; see `geometry.place`.
        profile: sanitise the frame first (only the blocks that count).
        which: which pass that is.
        signed: return the bytes of int8 levels minus 128.
        margins: `native_kernel.empty_margins` for the blocks under the crop; only where `is_one_pass` says so.

    Returns:
        (h, w, 3). Frames smaller than the model are enlarged bilinearly (OpenCV).
    """
    check_frame(rgb)
    height, width = rgb.shape[:2]
    placement = place(width, height, input_, preprocess)
    out = canvas(input_, signed)
    target = out[slices(placement.target)]
    if placement.shrinks_at(1) and instruction_sets():
        tensor_native(rgb, profile, placement.source, target, signed=signed, which=which, margins=margins)
        return out
    frame = sanitize(rgb, profile, which) if profile else rgb
    pixels = _resize(frame[slices(placement.source)], placement.target.width, placement.target.height)
    target[:] = pixels ^ np.uint8(SIGN) if signed else pixels
    return out


def is_one_pass(width: int, height: int, input_: InputSpec, preprocess: PreprocessSpec) -> bool:
    """True where `crop_and_resize` takes a frame of this size through the kernel at once, and can measure margins."""
    return bool(instruction_sets()) and place(width, height, input_, preprocess).shrinks_at(1)


def _resize(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if width <= frame.shape[1] and height <= frame.shape[0]:
        return area_resize(frame, width, height)
    import cv2

    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def slices(box: Box) -> tuple[slice, slice]:
    """The box as indices of rows and columns."""
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
