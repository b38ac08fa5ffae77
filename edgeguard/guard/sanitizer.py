"""The sanitiser that runs on the device: the native kernel, or the integer definition in numpy strip by strip."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.guard.blocks import BLOCK, check_frame, join_blocks, pad_to_blocks, split_blocks
from edgeguard.guard.geometry import ContractSpec, crop_and_resize, quantise_input
from edgeguard.guard.integer import sanitize_blocks
from edgeguard.guard.jpeg import decode_rgb, encode_jpeg
from edgeguard.guard.kernel import instruction_sets, sanitize_native
from edgeguard.guard.profile import GuardProfile
from edgeguard.guard.reference import component_steps, components

_STRIP_BLOCKS = 512  # blocks handled at once: their int32 intermediates stay in the cache


class Sanitizer:
    """Sanitise frames with a profile; the same bytes on every machine for `rgb` and `gray` profiles.

    `rgb` quantises each channel; `gray` quantises the luma and returns it in all three channels; the `ycbcr*`
    colours go through a real JPEG with the profile's tables (see `edgeguard.guard.jpeg` for the path from JPEG bytes).

    Example:
        >>> sanitizer = Sanitizer(GuardProfile.preset("fd"))
        >>> sanitizer(np.zeros((50, 70, 3), np.uint8)).shape
        (50, 70, 3)
    """

    def __init__(self, profile: GuardProfile) -> None:
        self.profile = profile

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Sanitise a uint8 HxWx3 frame of any size; the input is not changed.

        Raises:
            ValueError: the frame has another shape or type.
        """
        check_frame(rgb)
        if not self.profile.is_pixel_domain:
            return decode_rgb(encode_jpeg(rgb, self.profile))
        planes = components(rgb, self.profile)
        if instruction_sets():
            out = sanitize_native(planes, self.profile.component_tables)
        else:
            out = self._sanitize_numpy(planes)
        return np.repeat(out, 3, axis=2) if self.profile.color == "gray" else out

    def _sanitize_numpy(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        padded = pad_to_blocks(planes)
        steps = component_steps(self.profile)
        out = np.empty_like(padded)
        rows = max(_STRIP_BLOCKS * BLOCK * BLOCK // (padded.shape[1] * BLOCK), 1) * BLOCK
        for top in range(0, padded.shape[0], rows):
            strip = padded[top : top + rows]
            out[top : top + rows] = join_blocks(sanitize_blocks(split_blocks(strip), steps))
        return np.ascontiguousarray(out[: planes.shape[0], : planes.shape[1]])

    def tensor(self, rgb: NDArray[np.uint8], contract: ContractSpec) -> NDArray[np.generic]:
        """Frame to model input (1, h, w, 3): sanitise, crop, resize and quantise in the contract's order."""
        frame = self(rgb) if contract.guard.place == "frame" else rgb
        pixels = crop_and_resize(frame, contract.input, contract.preprocess)
        if contract.guard.place == "input":
            pixels = self(pixels)
        return quantise_input(pixels, contract.input, contract.preprocess)
