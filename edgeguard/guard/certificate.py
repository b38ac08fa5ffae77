"""How much an attacker in transit may change a frame before pass 2 can notice: proven, not measured.

With |e| <= eps levels on every pixel, coefficient k of a block moves by at most A_k eps. Pass 2 receives
coefficient c_k = m QS_k + r_k. While A_k eps + |r_k| + kernel error stays below QS_k / 2 for all k, the quantiser
returns the same index, and the block's output cannot change at all. (Feature Distillation, Liu et al., CVPR 2019,
equations 3-5, tightened per band and by the residual that 8-bit storage and clipping leave.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.dct_basis import DCT, GAIN
from edgeguard.dct.integer_dct import coefficient_error_bound, forward_dct
from edgeguard.dct.native_kernel import empty_margins, instruction_sets, sanitize_native
from edgeguard.dct.planes import component_steps, components
from edgeguard.dct.profile import GuardProfile
from edgeguard.dct.slack import MARGIN_UNIT, quantizer_margins
from edgeguard.jpeg.blocks import BLOCK, check_frame, pad_to_blocks, split_blocks

#: The changes in transit, in levels, for which shares are told everywhere.
CERTIFIED_LEVELS = (1, 2, 3, 4)

#: What the quantiser's own numbers prove less than exact coefficients, at most, in levels.
_MEASURED_BELOW = 0.15

#: What measured margins hold beyond their number, in their unit: `slack.change_bound` is more than is needed.
_RESERVE = 0.1

#: Of the coefficients and residuals below, which are computed in float32: sums of 2 x 8 products and the rounding of
#: the basis, at most 18 x 2^-24 of 255 (sum |D_k|)^2 <= 2040, and two more roundings of at most 2040 x 2^-24 each.
_FLOAT32_ERROR = 20 * 2.0**-24 * 2040


@dataclass(frozen=True, eq=False)
class Certificate:
    """What no change in transit can alter.

    Attributes:
        share_1: share of blocks (each channel's blocks count) whose output no change of +-1 level can alter.
        share_2: the same for +-2 levels.
        frame_min: the smallest margin of the frame, in levels; a change strictly below it alters nothing.
        map: margins in levels, float64 of shape (rows, columns, channels).
    """

    share_1: float
    share_2: float
    frame_min: float
    map: NDArray[np.float64]

    @property
    def share_at(self) -> dict[int, float]:
        """For changes of 1, 2, 3 and 4 levels the share of blocks whose output they cannot alter, 0..1."""
        return {levels: float((self.map > levels).mean()) for levels in CERTIFIED_LEVELS}


@dataclass(frozen=True)
class Proof:
    """Whether a whole picture is proven: every block that the model reads is certified.

    Then no change in transit of so many levels can alter the tensor, and so the label, whatever the model. A share of
    blocks is not that: one block that is not certified is enough for an attacker to try.

    Attributes:
        margin_levels: the smallest margin of those blocks; a change strictly below it alters nothing.
        share_at: for 1, 2, 3 and 4 levels the share of those blocks (each channel's count), 0..1.
    """

    margin_levels: float
    share_at: Mapping[int, float]

    def proven_at(self, levels: int) -> bool:
        """True when no change of at most `levels` levels in transit can alter the picture that the model gets."""
        return self.margin_levels > levels

    @property
    def proven_at_1(self) -> bool:
        """`proven_at(1)`."""
        return self.proven_at(1)

    @property
    def proven_at_2(self) -> bool:
        """`proven_at(2)`."""
        return self.proven_at(2)


def proof_of(frame: NDArray[np.uint8], profile: GuardProfile, region: Box | None = None) -> Proof | None:
    """Whether the array that pass 2 receives is proven, over the blocks that a region touches.

    It holds under the conditions of `certificate`: two passes with the same profile on the same grid. Only the caller
    can know them.

    Args:
        frame: uint8 HxWx3, as pass 2 receives it.
        profile: pass 2's profile.
        region: the pixels that the model's crop reads (`geometry.place(...).source`); by default the whole frame.

    Returns:
        The proof, or None for a `ycbcr*` profile, which has no certificate.

    Raises:
        ValueError: the region touches no block of the frame.

    Example:
        >>> from edgeguard.guard import GuardProfile, Sanitizer
        >>> profile = GuardProfile.preset("fd")
        >>> flat = Sanitizer(profile)(np.full((16, 16, 3), 120, np.uint8))
        >>> proof_of(flat, profile).proven_at_1
        True
    """
    check_frame(frame)
    if not profile.is_pixel_domain:
        return None
    blocks = (region or Box(0, 0, frame.shape[1], frame.shape[0])).on_grid(frame.shape[1], frame.shape[0])
    if not (blocks.width and blocks.height):
        raise ValueError(f"the region {region} touches no block of a {frame.shape[1]}x{frame.shape[0]} frame")
    part = frame[blocks.top : blocks.top + blocks.height, blocks.left : blocks.left + blocks.width]
    return proof_of_margins(part, profile, measured_margins(part, profile))


def proof_of_margins(part: NDArray[np.uint8], profile: GuardProfile, measured: NDArray[np.uint16]) -> Proof:
    """The proof of some blocks of a frame, of which the quantiser's own numbers are known.

    They prove a few hundredths of a level less than exact coefficients; where that decides, the exact ones are taken.

    Args:
        part: the blocks' pixels as pass 2 receives them, uint8 HxWx3, from a corner of the codec's grid on.
        profile: pass 2's, `rgb` or `gray`.
        measured: their margins, 1/256 level, (channels, rows, columns).
    """
    margins = (np.moveaxis(measured, 0, -1) + _RESERVE * (np.moveaxis(measured, 0, -1) > 0)) / MARGIN_UNIT
    close = (margins % 1 >= 1 - _MEASURED_BELOW) & (margins < CERTIFIED_LEVELS[-1])
    planes = pad_to_blocks(components(part, profile))
    for channel in range(margins.shape[2]):
        rows, columns = np.nonzero(close[:, :, channel])
        if not rows.size:
            continue
        blocks = split_blocks(planes[:, :, channel : channel + 1])[:, :, rows, columns, 0]
        stacked = blocks.transpose(2, 0, 1).reshape(-1, BLOCK)
        exact = _margins(stacked, component_steps(profile)[:, :, 0, 0, channel])[:, 0]
        margins[rows, columns, channel] = np.maximum(margins[rows, columns, channel], exact)
    shares = {levels: float((margins > levels).mean()) for levels in CERTIFIED_LEVELS}
    return Proof(float(margins.min()), shares)


def measured_margins(frame: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.uint16]:
    """The margins of a frame's blocks by the quantiser's own numbers: (channels, rows, columns), 1/256 level."""
    if instruction_sets():
        margins = empty_margins(profile, frame.shape[1], frame.shape[0])
        sanitize_native(frame, profile, which="second", margins=margins)
        return margins[:, :, : -(-frame.shape[1] // BLOCK)]
    blocks = split_blocks(pad_to_blocks(components(frame, profile)))
    found = quantizer_margins(forward_dct(blocks), component_steps(profile))
    return np.moveaxis(found, -1, 0).astype(np.uint16)


def certificate(frame: NDArray[np.uint8], profile: GuardProfile) -> Certificate | None:
    """The certificate of the array that pass 2 receives.

    It holds only when pass 1 used the same table on the same grid, which only the caller can know: this function
    computes margins. A frame that never went through pass 1 has arbitrary residuals and earns none.

    Args:
        frame: uint8 HxWx3, as pass 2 receives it.
        profile: pass 2's profile.

    Returns:
        The margins, or None for a `ycbcr*` profile: there the attacker may re-encode the file and own the
        coefficients themselves, which no pixel bound covers.

    Example:
        >>> from edgeguard.guard import GuardProfile, Sanitizer
        >>> profile = GuardProfile.preset("fd")
        >>> flat = Sanitizer(profile)(np.full((16, 16, 3), 120, np.uint8))
        >>> certificate(flat, profile).share_1
        1.0
    """
    if not profile.is_pixel_domain:
        return None
    planes = pad_to_blocks(components(frame, profile))
    tables = component_steps(profile)[:, :, 0, 0].transpose(2, 0, 1)
    margins = np.stack([_margins(planes[:, :, c], steps) for c, steps in enumerate(tables)], axis=-1)
    return Certificate(float((margins > 1).mean()), float((margins > 2).mean()), float(margins.min()), margins)


def _margins(plane: NDArray[np.uint8], steps: NDArray[np.int32]) -> NDArray[np.float64]:
    """The smallest margin of each block of a plane whose sides are multiples of 8, (rows, columns)."""
    height, width = plane.shape
    basis = DCT.astype(np.float32)
    across = plane.astype(np.float32).reshape(height, width // BLOCK, BLOCK) @ basis.T
    both = np.matmul(basis, across.reshape(height // BLOCK, BLOCK, width)).reshape(-1, BLOCK, width // BLOCK, BLOCK)
    step = steps.astype(np.float32)[:, None, :]
    residual = np.rint(both / step)
    residual *= step
    residual -= both
    np.abs(residual, out=residual)
    safe = steps / 2 - coefficient_error_bound() - _FLOAT32_ERROR
    residual -= safe.astype(np.float32)[:, None, :]
    residual /= -GAIN.astype(np.float32)[:, None, :]
    return residual.min(axis=(1, 3)).astype(np.float64)
