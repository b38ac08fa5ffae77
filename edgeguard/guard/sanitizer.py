"""The sanitiser that runs on the device."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.guard.certificate import Proof, proof_of
from edgeguard.preprocess.crop_resize import crop_and_resize, sanitize
from edgeguard.preprocess.dct_input import frame_coefficients
from edgeguard.preprocess.geometry import ContractSpec, quantize_input


class Sanitizer:
    """Sanitise decoded frames with a profile of any colour; the same bytes on every machine.

    `rgb` quantises each channel; `gray` quantises the luma and returns it in all three channels; the `ycbcr*` colours
    do what a JPEG coder and decoder do, less the entropy coding. JPEG bytes take another way (`guard.passes`): their
    own coefficients are requantised.

    Example:
        >>> sanitizer = Sanitizer(GuardProfile.preset("fd"))
        >>> sanitizer(np.zeros((50, 70, 3), np.uint8)).shape
        (50, 70, 3)
    """

    def __init__(self, profile: GuardProfile) -> None:
        self.profile = profile

    def __call__(self, rgb: NDArray[np.uint8], which: Pass = "only") -> NDArray[np.uint8]:
        """Sanitise a uint8 HxWx3 frame of any size; the input is not changed.

        Where the profile has room or proof levels, `which` pass it is matters: `first` gives what travels, `second`
        takes it and gives the camera's levels again, `only` is both in one.

        Raises:
            ValueError: the frame has another shape or type.
        """
        return sanitize(rgb, self.profile, which)

    def tensor(self, rgb: NDArray[np.uint8], contract: ContractSpec, which: Pass = "only") -> NDArray[np.generic]:
        """Frame to model input (1, h, w, 3), or its coefficients: sanitise, crop, resize and quantise in the contract's
        order."""
        return frame_to_tensor(rgb, contract, self.profile, which)

    def proof(self, received: NDArray[np.uint8], region: Box | None = None) -> Proof | None:
        """Whether what pass 1 gave, as pass 2 receives it, is proven; see `certificate.proof_of`."""
        return proof_of(received, self.profile, region)


def frame_to_tensor(
    rgb: NDArray[np.uint8],
    contract: ContractSpec,
    profile: GuardProfile | None,
    which: Pass = "only",
    margins: NDArray[np.uint16] | None = None,
) -> NDArray[np.generic]:
    """`Sanitizer.tensor`, with no profile for a frame that needs no (more) sanitising before the crop.

    `margins` as in `crop_and_resize`, where pass 2 works on the frame.
    """
    if contract.input.color == "DCT":
        return frame_coefficients(rgb, contract, profile)
    place = contract.guard.place if profile else "none"
    before = profile if place == "frame" else None
    if contract.input.dtype == "int8" and contract.input.color == "RGB" and place != "input":
        levels = crop_and_resize(
            rgb, contract.input, contract.preprocess, profile=before, which=which, signed=True, margins=margins
        )
        return levels[None].view(np.int8)
    pixels = crop_and_resize(
        rgb, contract.input, contract.preprocess, profile=before, which=which, margins=margins if before else None
    )
    if profile and place == "input":
        pixels = sanitize(pixels, profile)
    return quantize_input(pixels, contract.input, contract.preprocess)
