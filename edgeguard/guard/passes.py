"""The two passes as the device runs them: what pass 1 made of a frame, and pass 2 on what was received.

Calibration, the gates and `run` all go through here, so that a model is measured on exactly the path it will see.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.geometry import ContractSpec
from edgeguard.guard.jpeg import coded_with, decode_rgb, encode_jpeg, requantise_jpeg, sensor_profile
from edgeguard.guard.jpeg_header import read_whole_jpeg
from edgeguard.guard.profile import GuardProfile
from edgeguard.guard.sanitizer import Sanitizer, frame_to_tensor

#: Who did pass 1: the received JPEG's own coder, a sensor that says so, this process, or nobody.
Pass1 = Literal["camera", "sensor", "run", "none"]


@dataclass(frozen=True, eq=False)
class Received:
    """A frame as it arrives before pass 2: JPEG bytes or RGB pixels, one of them."""

    jpeg: bytes | None
    rgb: NDArray[np.uint8] | None
    pass1: Pass1

    def decode(self) -> NDArray[np.uint8]:
        """The received pixels, before pass 2."""
        if self.rgb is not None:
            return self.rgb
        assert self.jpeg is not None
        return decode_rgb(self.jpeg)


def receive_raw(rgb: NDArray[np.uint8], profile: GuardProfile | None) -> Received:
    """Pass 1 on a raw frame: code it with the profile (a real JPEG, or sanitised pixels)."""
    if profile is None:
        return Received(None, rgb, "none")
    if profile.is_pixel_domain:
        return Received(None, Sanitizer(profile)(rgb), "run")
    return Received(encode_jpeg(rgb, profile), None, "run")


def receive_jpeg(data: bytes, profile: GuardProfile | None) -> Received:
    """A JPEG from a camera keeps its bytes; pass 1 counts when its tables and sampling are the profile's.

    It is `sensor` when an APP segment carries the profile's hash as well, else `camera`.

    Raises:
        JpegError: the bytes are not a JPEG that we read, or they end early.
    """
    info = read_whole_jpeg(data)
    if profile is None or not coded_with(info, profile):
        return Received(data, None, "none")
    return Received(data, None, "sensor" if sensor_profile(info) == profile.sha256 else "camera")


def passes_of(received: Received, contract: ContractSpec) -> int:
    """How many passes count for this frame: 2 only when pass 1 is known and pass 2 works on the same frame grid."""
    if contract.guard.place == "none":
        return 0
    return 2 if received.pass1 != "none" and contract.guard.place == "frame" else 1


def pass_two(received: Received, contract: ContractSpec, sanitizer: Sanitizer | None) -> NDArray[np.uint8]:
    """The frame that the crop gets: pass 2 on the whole received frame when the contract's place is `frame`."""
    if sanitizer is None or contract.guard.place != "frame":
        return received.decode()
    coded = pass_two_coefficients(received, sanitizer.profile)
    return pass_two_pixels(coded.decode(), coded, sanitizer)


def pass_two_coefficients(received: Received, profile: GuardProfile) -> Received:
    """The part of pass 2 that works on coefficients: a received JPEG requantised with a `ycbcr*` profile.

    Where pass 1 is known the coefficients are multiples of the steps already, and nothing changes.
    """
    if profile.is_pixel_domain or received.jpeg is None or received.pass1 != "none":
        return received
    return Received(requantise_jpeg(received.jpeg, profile), None, received.pass1)


def pass_two_pixels(frame: NDArray[np.uint8], received: Received, sanitizer: Sanitizer) -> NDArray[np.uint8]:
    """The part of pass 2 that works on decoded pixels: everything that `pass_two_coefficients` could not do."""
    done = received.jpeg is not None and not sanitizer.profile.is_pixel_domain
    return frame if done else sanitizer(frame)


def model_tensor(frame: NDArray[np.uint8], contract: ContractSpec, sanitizer: Sanitizer | None) -> NDArray[np.generic]:
    """Crop, resize, pass 2 when the place is `input`, and quantise: from `pass_two`'s frame to the model's tensor."""
    remaining = sanitizer.profile if sanitizer is not None and contract.guard.place == "input" else None
    return frame_to_tensor(frame, contract, remaining)


def sanitize_jpeg(data: bytes, profile: GuardProfile, contract: ContractSpec | None = None) -> NDArray[np.generic]:
    """Pass 2 on JPEG bytes: requantise the coefficients with the profile's tables, decode, prepare for the model.

    The component grid of the received file is kept (a 4:2:2 camera stays 4:2:2); an `rgb` or `gray` profile
    sanitises the decoded frame instead.

    Args:
        data: a whole JPEG, gray or YCbCr.
        profile: pass 2's profile.
        contract: when given, the result is the model's tensor instead of the frame.

    Returns:
        uint8 RGB of shape HxWx3, or the contract's tensor (1, h, w, 3).

    Raises:
        JpegError: the bytes are not a JPEG that we read, or they end early.
    """
    received = receive_jpeg(data, profile)
    sanitizer = Sanitizer(profile)
    if contract is not None:
        return model_tensor(pass_two(received, contract, sanitizer), contract, sanitizer)
    if profile.is_pixel_domain:
        return sanitizer(received.decode())
    return decode_rgb(data if received.pass1 != "none" else requantise_jpeg(data, profile))
