"""What stands between sanitised levels and the graph: crop and resize; the device's bytes, with a derivative."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.boxes import Box
from edgeguard.dct.color import SAMPLING
from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.jpeg.blocks import BLOCK
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.area_resize import area_weights
from edgeguard.preprocess.geometry import Placement, place


@dataclass(frozen=True)
class FramePart:
    """A rectangle of a frame that is handled alone, and the size of the whole frame."""

    box: Box
    width: int
    height: int

    def of(self, frame: Any) -> Any:
        """This part of an array or tensor whose last axes are (height, width, channels)."""
        box = self.box
        return frame[..., box.top : box.top + box.height, box.left : box.left + box.width, :]

    def blocks(self) -> tuple[slice, slice]:
        """Rows and columns of the 8x8 blocks that it touches."""
        box = self.box
        bottom, right = -(-(box.top + box.height) // BLOCK), -(-(box.left + box.width) // BLOCK)
        return slice(box.top // BLOCK, bottom), slice(box.left // BLOCK, right)

    def pasted(self, frame: NDArray[np.uint8], part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of a whole frame with this part of it replaced."""
        whole = frame.copy()
        self.of(whole)[:] = part
        return whole


def part_that_is_read(width: int, height: int, contract: Contract, profile: GuardProfile | None) -> FramePart:
    """The part of a frame that a model's crop reads through a guard on the frame.

    It begins on the guard's grid, so that the guard gives the same levels for the part alone. Enlarged chroma also
    comes from the next block, which the part holds then.

    Args:
        width, height: of the frame.
        contract: of the model: input size and crop.
        profile: of the guard, or None.
    """
    source = place(width, height, contract.input, contract.preprocess).source
    if profile is None:
        return FramePart(source, width, height)
    rows, columns = SAMPLING.get(profile.color, (1, 1))
    down, across = BLOCK * rows, BLOCK * columns
    margin = 0 if rows == columns == 1 else 1
    top, left = max(source.top // down - margin, 0) * down, max(source.left // across - margin, 0) * across
    bottom = min((-(-(source.top + source.height) // down) + margin) * down, height)
    right = min((-(-(source.left + source.width) // across) + margin) * across, width)
    return FramePart(Box(left, top, right - left, bottom - top), width, height)


class CropResize(torch.nn.Module):
    """The contract's crop and area resize: the device's bytes forward, the linear area weights backward.

    Args:
        contract: of the model.
        part: levels are this part of frames only, which holds everything that the crop reads; None for whole frames.
    """

    def __init__(self, contract: Contract, part: FramePart | None = None) -> None:
        super().__init__()
        self.contract, self.part = contract, part
        self._path = InputPath(contract, profile=None, patch_guard=None)

    def forward(self, levels: Tensor) -> Tensor:
        """(n, 3, H, W) levels of frames, or of their part, to (n, 3, h, w) levels of the model's input."""
        return _with_adjoint(levels, self._exact, self._adjoint)

    def _exact(self, levels: Tensor) -> Tensor:
        frames = to_frames(levels)
        if self.part is not None:
            whole = np.zeros((len(frames), self.part.height, self.part.width, 3), np.uint8)
            self.part.of(whole)[:] = frames
            frames = whole
        return to_levels(np.stack([self._path.levels(self._path.arrive(frame))[0] for frame in frames]))

    def _adjoint(self, gradient: Tensor, height: int, width: int) -> Tensor:
        part = self.part or FramePart(Box(0, 0, width, height), width, height)
        placement = place(part.width, part.height, self.contract.input, self.contract.preprocess)
        source, target = placement.source, placement.target
        rows, columns = _weights(placement)
        shown = gradient[:, :, target.top : target.top + target.height, target.left : target.left + target.width]
        back = rows.T @ shown.contiguous() @ columns
        top, left = source.top - part.box.top, source.left - part.box.left
        return F.pad(back, (left, width - left - source.width, top, height - top - source.height))


class _WithAdjoint(torch.autograd.Function):
    """A function with the transpose of a linear one for its derivative."""

    @staticmethod
    def forward(ctx: Any, levels: Tensor, exact: Any, adjoint: Any) -> Tensor:
        ctx.size, ctx.adjoint = levels.shape[2:], adjoint
        return exact(levels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint(gradient, *ctx.size), None, None


_with_adjoint: Callable[[Tensor, Any, Any], Tensor] = _WithAdjoint.apply  # torch gives `apply` no types


@lru_cache(maxsize=64)
def _weights(placement: Placement) -> tuple[Tensor, Tensor]:
    """Rows (h, H) and columns (w, W) of the resize from a placement's source to its target."""
    source, target = placement.source, placement.target
    if placement.shrinks_at(1):
        return _area_matrix(source.height, target.height), _area_matrix(source.width, target.width)
    return _enlarging_matrix(source.height, target.height), _enlarging_matrix(source.width, target.width)


def _enlarging_matrix(length: int, out_size: int) -> Tensor:
    """OpenCV's weights; its INTER_AREA enlarges in a way of its own. Where one side shrinks, bilinear ones are near."""
    each = np.eye(length, dtype=np.float32)
    if out_size >= length:
        return torch.from_numpy(cv2.resize(each, (length, out_size), interpolation=cv2.INTER_AREA))
    return F.interpolate(torch.from_numpy(each)[:, None], out_size, mode="linear")[:, 0].T.contiguous()


def _area_matrix(length: int, out_size: int) -> Tensor:
    first, weights = area_weights(0, length, 1, out_size)
    matrix = np.zeros((out_size, length), np.float32)
    for tap in range(weights.shape[1]):
        matrix[np.arange(out_size), np.minimum(first + tap, length - 1)] += weights[:, tap] / 2**14
    return torch.from_numpy(matrix)
