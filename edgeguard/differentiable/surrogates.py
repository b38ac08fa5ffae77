"""Differentiable stand-ins for codecs: what the backward pass of an adaptive attack believes the codec does.

BPDA (Athalye et al. 2018, "Obfuscated gradients", section 4.1): the real codec forward, an approximation backward.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.dct.profile import GuardProfile, Pass

#: What a codec's derivative is taken for: the DCT with roundings skipped, nothing at all, a smooth rounding (Shin and
#: Song 2017: round(x) + (x - round(x))**3), or that derivative at what the codec really rounds and clips, with a slope
#: left beyond the clip (Reich et al., WACV 2024, "Differentiable JPEG: the devil is in the details").
Backward = Literal["straight-through", "identity", "differentiable-jpeg", "differentiable-jpeg-ste"]
BACKWARDS: tuple[Backward, ...] = ("straight-through", "identity", "differentiable-jpeg", "differentiable-jpeg-ste")
_BEYOND_CLIP = 1e-3  # Reich et al.: the derivative where a value was clipped


class _Replace(torch.autograd.Function):
    """The first argument forward, the second one's gradient backward."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, surrogate: Tensor) -> Tensor:
        return exact

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


_replace: Callable[[Tensor, Tensor], Tensor] = _Replace.apply  # torch gives `apply` no types


def bpda(exact: Tensor, surrogate: Tensor) -> Tensor:
    """`exact` with the derivative of `surrogate` (same shape)."""
    return _replace(exact, surrogate)


def round_straight_through(x: Tensor) -> Tensor:
    """Rounding whose derivative is 1."""
    return bpda(x.detach().round(), x)


def round_smoothly(x: Tensor) -> Tensor:
    """Rounding that has a slope: 0 on the grid, 0.75 half way."""
    nearest = x.detach().round()
    return nearest + (x - nearest) ** 3


def dct_matrix(device: torch.device | None = None) -> Tensor:
    """The orthonormal 8x8 DCT-II."""
    k, n = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    matrix = np.cos(np.pi * (2 * n + 1) * k / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    return torch.from_numpy(matrix.astype(np.float32)).to(device)


def to_blocks(planes: Tensor) -> Tensor:
    """(n, c, h, w) with sides that are multiples of 8 to (n, c, h/8, w/8, 8, 8)."""
    n, c, h, w = planes.shape
    return planes.reshape(n, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)


def from_blocks(blocks: Tensor) -> Tensor:
    """The inverse of `to_blocks`."""
    n, c, rows, columns, _, _ = blocks.shape
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(n, c, rows * 8, columns * 8)


def round_with_slope(x: Tensor) -> Tensor:
    """Rounding with the derivative of `round_smoothly`, and its own values forward."""
    return bpda(x.detach().round(), round_smoothly(x))


def clip_with_slope(x: Tensor) -> Tensor:
    """Clipping to 0..255 that keeps a derivative of a thousandth where it clips."""
    inside = (x >= 0) & (x <= 255)
    return bpda(x.detach().clamp(0, 255), torch.where(inside, x, _BEYOND_CLIP * x))


def surrogate_codec(levels: Tensor, profile: GuardProfile, backward: Backward, which: Pass = "only") -> Tensor:
    """The codec in float with a rounding that has a derivative; (n, 3, h, w) levels in and out.

    `which` pass it is says at which ends the levels keep the profile's room.
    """
    if not profile.room:
        return _codec(levels, profile, backward)
    share = (255 - 2 * profile.room) / 255
    inside = levels if which == "second" else levels * share + profile.room
    done = _codec(inside, profile, backward)
    return done if which == "first" else ((done - profile.room) / share).clamp(0, 255)


def _codec(levels: Tensor, profile: GuardProfile, backward: Backward) -> Tensor:
    if backward == "identity":
        return levels
    rounding = _ROUNDINGS[backward]
    clip = clip_with_slope if backward == "differentiable-jpeg-ste" else _clip
    if profile.color == "rgb" and backward == "straight-through":
        with torch.no_grad():  # to the DCT and back without a rounding is the identity, and so is its derivative
            coded = _quantized(levels, _tables(profile, 3), torch.round)
        return clip(bpda(coded, levels))
    if profile.color == "rgb":
        return clip(_quantized(levels, _tables(profile, 3), rounding))
    y, chroma = luma_of(levels), chroma_of(levels)
    if profile.color == "gray":
        return clip(_quantized(y, _tables(profile, 1), rounding)).expand(-1, 3, -1, -1)
    return clip(_ycbcr(y, chroma, profile, rounding))


def _ycbcr(y: Tensor, chroma: Tensor, profile: GuardProfile, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    rows, columns = {"ycbcr444": (1, 1), "ycbcr422": (1, 2), "ycbcr420": (2, 2)}[profile.color]
    tables = _tables(profile, 3)
    height, width = y.shape[2:]
    padded = F.pad(chroma, (0, -width % columns, 0, -height % rows), mode="replicate")
    small = F.avg_pool2d(padded, (rows, columns))
    small = _quantized(small, tables[1:], rounding)
    wide = F.interpolate(small, scale_factor=(rows, columns), mode="bilinear")[:, :, :height, :width]
    y = _quantized(y - 128, tables[:1], rounding) + 128
    blue, red = wide[:, :1], wide[:, 1:]
    return torch.cat([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], 1)


def _clip(levels: Tensor) -> Tensor:
    return levels.clamp(0, 255)


_ROUNDINGS = {
    "straight-through": round_straight_through,
    "differentiable-jpeg": round_smoothly,
    "differentiable-jpeg-ste": round_with_slope,
}


def _quantized(planes: Tensor, tables: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    height, width = planes.shape[2:]
    padded = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks, dct = to_blocks(padded), dct_matrix(planes.device)
    # one product with a matrix of 64 x 64 is several times as fast as two with 8 x 8 for each block
    both = torch.kron(dct, dct)
    steps = tables.to(planes.device).view(1, -1, 1, 1, 64)
    indices = rounding(blocks.flatten(4) @ both.T / steps)
    return from_blocks((indices * steps @ both).view(blocks.shape))[:, :, :height, :width]


def _tables(profile: GuardProfile, count: int) -> Tensor:
    return torch.tensor(profile.component_tables[:count], dtype=torch.float32)


def luma_of(levels: Tensor) -> Tensor:
    """(n, 3, h, w) levels to (n, 1, h, w)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=levels.device).view(1, 3, 1, 1)
    return (levels * weights).sum(1, keepdim=True)


def chroma_of(levels: Tensor) -> Tensor:
    """(n, 3, h, w) levels to Cb and Cr around 0, (n, 2, h, w)."""
    weights = torch.tensor([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=levels.device)
    return F.conv2d(levels, weights.view(2, 3, 1, 1))
