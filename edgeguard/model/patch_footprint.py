"""How many pixels of the model's input a square of the frame can change, through guard, crop and resize.

Bounds, not estimates: a guard's block may change as a whole when one of its pixels does, and a pixel of the resized
picture depends on every pixel of the frame that has a weight in it. The certificate at the model's input
(`model.patch_certificate`) becomes one in the frame with this.
"""

from dataclasses import dataclass, field

import numpy as np

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.model.contract import Contract
from edgeguard.model.patch_certificate import touched
from edgeguard.model.receptive_field import Axis
from edgeguard.preprocess.area_resize import area_weights
from edgeguard.preprocess.geometry import Placement, place

_BLOCK, _MCU = 8, 16
_REACH = 8  # pixels beyond a block that the upsampling of chroma reads, at a decoding scale of up to 1/4


@dataclass(frozen=True, eq=False)
class Footprint:
    """What squares of a frame of one size become at the model's input.

    Attributes:
        rows, columns: for each pixel of the input, the pixels of the frame that it depends on.
        width, height: of the frame (or the region) that the model's crop is taken from.

    Example:
        >>> from edgeguard.model.contract import InputSpec, Preprocess
        >>> contract = Contract(InputSpec(32, 32), Preprocess(crop_fraction=1.0))
        >>> Footprint.of(contract, 64, 64).side(5)
        3
    """

    rows: Axis
    columns: Axis
    width: int
    height: int
    _sides: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, contract: Contract, width: int, height: int) -> "Footprint":
        """Of a model with this contract and frames of this size, as they are before its guard.

        Raises:
            InputError: a patch guard stands before the model, which may look anywhere.
        """
        guard = contract.guard
        if guard.patch is not None:
            raise InputError(f"the patch guard {guard.patch} may look anywhere: nothing is proven in the frame")
        placement = place(width, height, contract.input, contract.preprocess)
        axes = []
        for vertical in (True, False):
            size = height if vertical else width
            axis = _resized(placement, vertical)
            if guard.profile is not None and guard.place == "input":
                axis = _in_blocks(axis, len(axis.first), size, guard.profile, within=True)
            if guard.profile is not None and guard.place == "frame":
                axis = _in_blocks(axis, size, size, guard.profile, within=False)
            axes.append(axis)
        return cls(axes[0], axes[1], width, height)

    def side(self, patch: int) -> int:
        """The side of the smallest square of the input that holds what `patch` pixels of the frame can change.

        A square that may reach over a whole axis has a larger side than the input.
        """
        if patch not in self._sides:
            self._sides[patch] = max(
                self._along(self.rows, self.height, patch), self._along(self.columns, self.width, patch)
            )
        return self._sides[patch]

    def largest(self, proven: int) -> int:
        """The side of the largest square of the frame that stays within `proven` pixels of the input; 0 for none."""
        low, high = 0, min(self.width, self.height) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self.side(middle) <= proven:
                low = middle
            else:
                high = middle
        return low

    def _along(self, axis: Axis, size: int, patch: int) -> int:
        first, behind = touched(axis, size, patch)
        return int((behind - first).max())


def _resized(placement: Placement, vertical: bool) -> Axis:
    """The pixels of the frame that each pixel of the target depends on, along one axis."""
    source, target = placement.source, placement.target
    start, length, count = (
        (source.top, source.height, target.height) if vertical else (source.left, source.width, target.width)
    )
    if placement.shrinks_at(1):
        first, weights = area_weights(start, length, 1, count)
        used = weights > 0
        taps = weights.shape[1]
        last = first + taps - 1 - used[:, ::-1].argmax(1)
        return Axis(np.asarray(first + used.argmax(1), np.int64), np.minimum(last, start + length - 1))
    # One side grows: OpenCV interpolates, between the two neighbors at most; one pixel more covers its rounding.
    scale = length / count
    begin = np.arange(count) * scale
    first = np.floor(np.minimum(begin, begin + scale / 2 - 0.5)).astype(np.int64) - 1
    last = np.ceil(np.maximum(begin + scale, begin + scale / 2 + 0.5)).astype(np.int64) + 1
    end = start + length - 1
    return Axis(np.clip(start + first, start, end), np.clip(start + last, start, end))


def _in_blocks(axis: Axis, grid: int, size: int, profile: GuardProfile, *, within: bool) -> Axis:
    """The axis behind a codec: a pixel of a block depends on all of the block's pixels.

    Args:
        axis: what each pixel of the target depends on.
        grid: pixels along the axis of what the codec works on.
        size: pixels of the frame along the axis.
        profile: of the codec.
        within: the codec works on the target itself, not on the frame.
    """
    luma_only = profile.is_pixel_domain or profile.color == "ycbcr444"
    cell, reach = (_BLOCK, 0) if luma_only else (_MCU, _REACH)
    if not within:
        # decoding at a smaller scale joins pixels of a block, chroma's upsampling those of its neighbor
        first = np.maximum(axis.first - reach, 0) // cell * cell
        last = np.minimum((axis.last + reach) // cell * cell + cell - 1, size - 1)
        return Axis(first, last)
    places = np.arange(grid)
    low = np.maximum(places - reach, 0) // cell * cell
    high = np.minimum((places + reach) // cell * cell + cell - 1, grid - 1)
    return Axis(axis.first[low], axis.last[high])
