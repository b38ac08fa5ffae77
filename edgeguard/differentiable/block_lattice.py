"""The lattice that a guard's quantizer makes of frames: units of blocks, their coefficients, indices and gradients.

A unit is the smallest part of a frame whose coefficients depend on its own values only: an 8x8 block of one channel
(`rgb`), of all channels (`gray`, `ycbcr444`), or the pixels under one chroma block (`ycbcr422`, `ycbcr420`). It has P
values and K coefficients, which are linear in the values: c = B x + offset.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.color import SAMPLING, rgb_to_chroma, rgb_to_gray
from edgeguard.dct.integer_dct import COEFFICIENT_SCALE, forward_dct, quantize, with_room
from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.surrogates import chroma_of, dct_matrix, luma_of
from edgeguard.jpeg.blocks import BLOCK

_LUMA = (0.299, 0.587, 0.114)
_CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
#: Outputs whose DCT weights are all +-1/8: in the fixed-point kernel they are exact, so that ties are real.
_EXACT = tuple(8 * u + v for u in (0, 4) for v in (0, 4))


class BlockLattice:
    """Units of frames of one size under a profile, in the order (image, channel where each has its own, row, column).

    Args:
        profile: the guard's.
        height, width: of the frames, any; the values of padding never change.
        room: levels 0..255 become room..255 - room before the transform; `rgb` and `gray` only.

    Attributes:
        basis: float32 (K, P), the matrix B.
        units: units of one image.

    Example:
        >>> lattice = BlockLattice(GuardProfile.preset("fd"), 16, 16)
        >>> lattice.units, tuple(lattice.basis.shape)
        (12, (64, 64))
    """

    def __init__(self, profile: GuardProfile, height: int, width: int, room: int = 0) -> None:
        self.profile, self.height, self.width, self.room = profile, height, width, room
        rows, columns = SAMPLING.get(profile.color, (1, 1))
        self._sampling = rows, columns
        self._rows, self._columns = BLOCK * rows, BLOCK * columns
        self._down, self._across = -(-height // self._rows), -(-width // self._columns)
        self._planes = 3 if profile.color == "rgb" else 1
        self.units = self._planes * self._down * self._across
        self.basis = _basis(profile) * ((255 - 2 * room) / 255)

    @property
    def steps(self) -> Tensor:
        """float32 (units, K): the quantization step of each coefficient, for the units of one image."""
        first, *others = (torch.tensor(table, dtype=torch.float32) for table in self.profile.component_tables)
        if self.profile.color == "rgb":
            each = torch.stack([first, *others])
        elif self.profile.color == "gray":
            each = first[None]
        else:
            each = torch.cat([first.repeat(self._sampling[0] * self._sampling[1]), *others])[None]
        return each.repeat_interleave(self._down * self._across, 0)

    def split(self, planes: Tensor, *, replicate: bool = False) -> Tensor:
        """(n, 3, h, w) to (n, units, P); padding is zeros, or the edge as the guard has it."""
        padding = (0, self._across * self._columns - self.width, 0, self._down * self._rows - self.height)
        padded = F.pad(planes, padding, mode="replicate" if replicate else "constant") if any(padding) else planes
        n, apart = len(padded), self._planes
        cut = padded.reshape(n, apart, 3 // apart, self._down, self._rows, self._across, self._columns)
        return cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, self.units, -1)

    def join(self, units: Tensor) -> Tensor:
        """The inverse of `split`, padding cut off."""
        n, apart = len(units), self._planes
        cut = units.reshape(n, apart, self._down, self._across, 3 // apart, self._rows, self._columns)
        whole = cut.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, 3, self._down * self._rows, self._across * self._columns)
        return whole[:, :, : self.height, : self.width]

    def coefficients(self, units: Tensor) -> Tensor:
        """float32 (..., P) levels to (..., K), in real arithmetic; sums that the kernel has exactly are exact here."""
        found = (units - 128) @ self.basis.T
        if self.profile.is_pixel_domain:
            found[..., 0] += 1024 - 8 * self.room / 255
        if self.profile.color == "rgb" and self.room == 0:
            for k in _EXACT:
                found[..., k] = (found[..., k] * 8).round() / 8
        return found

    def indices(self, units: Tensor, steps: Tensor) -> Tensor:
        """float32 (m, P) whole levels and steps (m, K) to indices (m, K), by the integer definition of the guard."""
        return _flat(_quantized(self._integer_coefficients(units), steps))

    def residuals(self, units: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients as the kernel has them: indices (m, K), and how far each lies above its multiple of the step."""
        whole = self._integer_coefficients(units)
        indices = _flat(_quantized(whole, steps))
        return indices, _flat(whole) / COEFFICIENT_SCALE - indices * steps

    def _integer_coefficients(self, units: Tensor) -> NDArray[np.int32]:
        """(8, 8, components, m), times 32."""
        color, m = self.profile.color, len(units)
        levels = units.numpy().astype(np.uint8).reshape(m, 3 // self._planes, self._rows, self._columns)
        if color == "rgb":
            return with_room(forward_dct(levels.transpose(2, 3, 1, 0)), self.room)
        stacked = np.ascontiguousarray(levels.transpose(0, 2, 3, 1)).reshape(m * self._rows, self._columns, 3)
        luma = rgb_to_gray(stacked).reshape(m, self._rows, self._columns)
        if color == "gray":
            return with_room(forward_dct(luma.transpose(1, 2, 0)[:, :, None]), self.room)
        rows, columns = self._sampling
        blocks = luma.reshape(m, rows, BLOCK, columns, BLOCK).transpose(2, 4, 1, 3, 0).reshape(BLOCK, BLOCK, -1, m)
        chroma = [c.reshape(m, BLOCK, BLOCK).transpose(1, 2, 0) for c in rgb_to_chroma(stacked, rows, columns)]
        return forward_dct(np.concatenate([blocks, np.stack(chroma, axis=2)], axis=2), level_shifted=True)

    def index_gradient(self, gradient: Tensor) -> Tensor:
        """How a loss changes with each index: its gradient by the guard's output, (n, 3, h, w), to (n, units, K)."""
        if self.profile.color == "rgb":
            return (self.split(gradient) @ self.basis.T) * self.steps
        if self.profile.color == "gray":
            alike = gradient.sum(1, keepdim=True).expand(-1, 3, -1, -1)  # the weights of `basis` add up to 1
            return (self.split(alike) @ self.basis.T) * self.steps
        rows, columns = self._sampling
        y, blue, red = gradient.sum(1), *_chroma_adjoint(gradient)
        padding = (0, self._across * self._columns - self.width, 0, self._down * self._rows - self.height)
        dct, n = dct_matrix(), len(gradient)
        luma = F.pad(y, padding).reshape(n, self._down, rows, BLOCK, self._across, columns, BLOCK)
        parts = [luma.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, self.units, rows * columns, BLOCK, BLOCK)]
        for plane in (blue, red):
            small = F.avg_pool2d(F.pad(plane, padding)[:, None], (rows, columns)) * (rows * columns)
            blocks = small.reshape(n, self._down, BLOCK, self._across, BLOCK).permute(0, 1, 3, 2, 4)
            parts.append(blocks.reshape(n, self.units, 1, BLOCK, BLOCK))
        return (dct @ torch.cat(parts, 2) @ dct.T).flatten(2) * self.steps


def _quantized(coefficients: NDArray[np.int32], steps: Tensor) -> NDArray[np.int32]:
    """(8, 8, components, m) and steps (m, K) to indices."""
    m = coefficients.shape[-1]
    cut = steps.numpy().astype(np.int32).T.reshape(-1, BLOCK, BLOCK, m)
    return quantize(coefficients, cut.transpose(1, 2, 0, 3))


def _flat(values: NDArray[np.int32]) -> Tensor:
    """(8, 8, components, m) to float32 (m, K)."""
    return torch.from_numpy(values.transpose(3, 2, 0, 1).reshape(values.shape[-1], -1).astype(np.float32))


def _chroma_adjoint(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """A gradient by R, G, B as one by Cb and Cr."""
    red, green, blue = gradient.unbind(1)
    return 1.772 * blue - 0.344136 * green, 1.402 * red - 0.714136 * green


def _basis(profile: GuardProfile) -> Tensor:
    """B of one unit: the coefficients of each value alone."""
    dct = dct_matrix()
    block = torch.einsum("ui,vj->uvij", dct, dct).reshape(64, 64)
    if profile.color == "rgb":
        return block
    if profile.color == "gray":
        return torch.cat([w * block for w in _LUMA], 1)
    rows, columns = SAMPLING[profile.color]
    height, width = BLOCK * rows, BLOCK * columns
    alone = torch.eye(3 * height * width).reshape(-1, 3, height, width)
    luma = luma_of(alone).reshape(-1, rows, BLOCK, columns, BLOCK).permute(0, 1, 3, 2, 4)
    chroma = F.avg_pool2d(chroma_of(alone), (rows, columns))
    blocks = torch.cat([luma.reshape(-1, rows * columns, BLOCK, BLOCK), chroma], 1)
    return (dct @ blocks @ dct.T).flatten(1).T.contiguous()
