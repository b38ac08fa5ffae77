"""The two passes as the device runs them: what pass 1 made of a frame, and pass 2 on what was received.

Calibration, the gates and `run` all go through here, so that a model is measured on exactly the path it will see.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.jpeg_encode import coded_with, encode_jpeg
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.dct.room import without_room
from edgeguard.guard.sanitizer import frame_to_tensor
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.jpeg.seal import read_seal
from edgeguard.png.frame import read_png, read_png_info
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.preprocess.dct_input import jpeg_coefficients
from edgeguard.preprocess.geometry import ContractSpec, quantize_input
from edgeguard.preprocess.requantize import requantized_frame, requantized_tensor

#: Who did pass 1: the received JPEG's own coder, a sensor that says so, this process, or nobody.
Pass1 = Literal["camera", "sensor", "run", "none"]


@dataclass(frozen=True, eq=False)
class Received:
    """A frame as it arrives before pass 2: JPEG bytes, RGB pixels, or a sensor's PNG, one of them.

    Attributes:
        coded_size: upright width and height of the JPEG or PNG.
        room: of the profile that did pass 1 on pixels: their levels keep it.
    """

    jpeg: bytes | None
    rgb: NDArray[np.uint8] | None
    pass1: Pass1
    coded_size: tuple[int, int] = (0, 0)
    png: bytes | None = None
    room: int = 0

    def size(self) -> tuple[int, int]:
        """Width and height of the frame as it will be decoded."""
        return self.coded_size if self.rgb is None else (self.rgb.shape[1], self.rgb.shape[0])

    def decode(self) -> NDArray[np.uint8]:
        """The received pixels, before pass 2.

        Raises:
            JpegError: they do not decode, or something of them is missing.
        """
        if self.rgb is not None:
            return self.rgb
        if self.png is not None:
            return read_png(read_png_info(self.png))
        assert self.jpeg is not None
        return decode_whole(self.jpeg)

    def picture(self) -> NDArray[np.uint8]:
        """The received pixels with the camera's levels, for people: without the room of pass 1. Raises as `decode`."""
        return without_room(self.decode(), self.room)


def receive_raw(rgb: NDArray[np.uint8], profile: GuardProfile | None) -> Received:
    """Pass 1 on a raw frame: code it with the profile (a real JPEG, or sanitised pixels)."""
    if profile is None:
        return Received(None, rgb, "none")
    if profile.is_pixel_domain:
        return Received(None, sanitize(rgb, profile, "first"), "run", room=profile.room)
    return Received(encode_jpeg(rgb, profile), None, "run", (rgb.shape[1], rgb.shape[0]))


def receive_jpeg(data: bytes, profile: GuardProfile | None) -> Received:
    """A JPEG from a camera keeps its bytes; pass 1 counts when its tables and sampling are the profile's.

    It is `sensor` when a seal names the profile as well (a claim, unless it was checked with a key), else `camera`.

    Raises:
        JpegError: the bytes are not a JPEG that we read, or they end early.
    """
    info = read_whole_jpeg(data)
    size = (info.height, info.width) if info.orientation >= 5 else (info.width, info.height)
    if profile is None or not coded_with(info, profile):
        return Received(data, None, "none", size)
    seal = read_seal(info)
    return Received(data, None, "sensor" if seal is not None and seal.profile == profile.sha256 else "camera", size)


def receive_png(data: bytes, profile: GuardProfile | None) -> Received:
    """A sensor's frame without loss; pass 1 counts when its seal names the profile (a claim, unless it was checked with
    a key). A frame of another profile comes decoded, and has the camera's levels again where that profile has room.

    Raises:
        JpegError: the bytes are no PNG of a sensor, or they are damaged.
    """
    info = read_png_info(data)
    seal = read_seal(info)
    if seal is not None and profile is not None and profile.is_pixel_domain and seal.profile == profile.sha256:
        return Received(None, None, "sensor", (info.width, info.height), data, profile.room)
    return Received(None, without_room(read_png(info), 0 if seal is None else seal.room), "none")


def passes_of(received: Received, contract: ContractSpec) -> int:
    """How many passes count for this frame: 2 only when pass 1 is known and pass 2 works on the same frame grid."""
    if contract.guard.place == "none":
        return 0
    return 2 if received.pass1 != "none" and contract.guard.place == "frame" else 1


def works_on_coefficients(received: Received, contract: ContractSpec, profile: GuardProfile) -> bool:
    """True where pass 2 happens on a JPEG's coefficients: a `ycbcr*` profile on whole received frames."""
    return contract.guard.place == "frame" and received.jpeg is not None and not profile.is_pixel_domain


def pass_two(received: Received, contract: ContractSpec, profile: GuardProfile | None) -> NDArray[np.uint8]:
    """The frame that the crop gets, at its full size: pass 2 on the whole received frame where the place is `frame`."""
    if profile is None or contract.guard.place != "frame":
        return received.decode()
    if works_on_coefficients(received, contract, profile):
        assert received.jpeg is not None
        return requantized_frame(received.jpeg, profile)
    return sanitize(received.decode(), profile, _which(received))


def _which(received: Received) -> Pass:
    """What pass 2 is for pixels: the only pass where nobody did pass 1, or the received JPEG's own coder did."""
    return "second" if received.pass1 in ("run", "sensor") else "only"


def model_tensor(frame: NDArray[np.uint8], contract: ContractSpec, profile: GuardProfile | None) -> NDArray[np.generic]:
    """Crop, resize, pass 2 when the place is `input`, and quantise: from `pass_two`'s frame to the model's tensor."""
    needed = contract.guard.place == "input" or contract.input.color == "DCT"
    return frame_to_tensor(frame, contract, profile if needed else None)


def received_tensor(
    received: Received,
    contract: ContractSpec,
    profile: GuardProfile | None,
    scale: int | None = None,
    margins: NDArray[np.uint16] | None = None,
) -> NDArray[np.generic]:
    """Pass 2, crop, resize and quantise: from a received frame to the model's tensor, in as few passes as possible.

    Args:
        received: what `receive_raw` or `receive_jpeg` gave.
        contract: the model's.
        profile: pass 2's, or None for a frame that stays as it is.
        scale: decode JPEGs at 1/scale (1, 2 or 4) where pass 2 works on coefficients; by default
            `requantize.decode_scale`. At 1 the result is `model_tensor` of `pass_two`.
        margins: as in `crop_resize.crop_and_resize`, where pass 2 works on pixels.
    """
    if contract.input.color == "DCT" and received.jpeg is not None:
        return jpeg_coefficients(received.jpeg, contract, profile)
    if profile is None or not works_on_coefficients(received, contract, profile):
        return frame_to_tensor(received.decode(), contract, profile, _which(received), margins)
    assert received.jpeg is not None
    signed = contract.input.dtype == "int8" and contract.input.color == "RGB"
    pixels = requantized_tensor(received.jpeg, profile, contract.input, contract.preprocess, scale, signed)
    return pixels[None].view(np.int8) if signed else quantize_input(pixels, contract.input, contract.preprocess)


def sanitize_jpeg(
    data: bytes, profile: GuardProfile, contract: ContractSpec | None = None, scale: int | None = None
) -> NDArray[np.generic]:
    """Pass 2 on JPEG bytes: requantise the coefficients with the profile's tables, decode, prepare for the model.

    The component grid of the received file is kept (a 4:2:2 camera stays 4:2:2); an `rgb` or `gray` profile
    sanitises the decoded frame instead.

    Args:
        data: a whole JPEG, gray or YCbCr.
        profile: pass 2's profile.
        contract: when given, the result is the model's tensor instead of the frame.
        scale: decode at 1/scale (1, 2 or 4). By default 1 for a frame, and `requantize.decode_scale` for a tensor.

    Returns:
        uint8 RGB of shape HxWx3, or the contract's tensor (1, h, w, 3), or (1, 3h/16, w/8, 64) of coefficients.

    Raises:
        JpegError: the bytes are not a JPEG that we read, or they end early.
    """
    if contract is not None:
        return received_tensor(receive_jpeg(data, profile), contract, profile, scale)
    if profile.is_pixel_domain:
        return sanitize(decode_whole(data), profile)
    return requantized_frame(data, profile, scale or 1)
