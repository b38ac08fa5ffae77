"""A network that reads quantised DCT coefficients as they come out of a JPEG decoder (Gueguen et al. 2018).

Dequantising, inverse DCT and a convolution are linear one after the other: together they are one transposed convolution
on the grid of blocks, with overlapping outputs. Training learns the convolution; the program that is exported holds the
product. Luma and chroma keep grids of their own, so that no chroma is enlarged and no colour converted. The rest is the
network `resnet11` from a half of the picture's size on.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.dct.dct_basis import DCT
from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.differentiable.surrogates import bpda, chroma_of, dct_matrix, luma_of, to_blocks
from edgeguard.errors import InputError
from edgeguard.jpeg.blocks import BLOCK
from edgeguard.preprocess.dct_input import FREQUENCIES, MCU, frame_planes
from edgeguard.train.layers import Residual, convolution, pooled

_PIXEL_SCALE = 64.0  # samples of about one, as networks like them
# Side and stride of the filters, in samples of their plane: both planes come out at half the picture's size.
_LUMA, _CHROMA = (6, 2), (3, 1)


class CoefficientNet(nn.Module):
    """Indices to logits.

    Args:
        classes: number of outputs.
        width: scales every layer, as in `ShallowResNet`.
        profile: whose indices are read; `ycbcr420`.
    """

    def __init__(self, classes: int, width: int, profile: GuardProfile) -> None:
        super().__init__()
        self.profile = profile
        luma, chroma = 3 * width // 2, max(width // 4, 1)
        tables = profile.component_tables
        self.luma: nn.Module = _Filters(luma, *_LUMA, tables[0])
        self.chroma = nn.ModuleList(_Filters(chroma, *_CHROMA, table) for table in tables[1:])
        first = luma + 2 * chroma
        self.features = nn.Sequential(
            Residual(first),
            convolution(first, 4 * width, stride=2),
            Residual(4 * width),
            pooled(4 * width, 4 * width),
            Residual(4 * width),
        )
        self.classify = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Indices (n, 64, 3h/16, w/8), laid out as `guard.coefficients` says, to logits."""
        rows, half = x.shape[2] * 2 // 3, x.shape[3] // 2
        blue, red = self.chroma
        planes = (self.luma(x[:, :, :rows]), blue(x[:, :, rows:, :half]), red(x[:, :, rows:, half:]))
        features = self.features(torch.cat([nn.functional.relu(plane) for plane in planes], 1))
        return self.classify(nn.functional.max_pool2d(features, features.shape[2:]).flatten(1))

    def from_levels(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) levels to indices, exactly as the device makes them; backward, roundings are skipped."""
        exact = exact_indices(levels, self.profile)
        if not (torch.is_grad_enabled() and levels.requires_grad):
            return exact
        return bpda(exact, smooth_indices(levels, self.profile))

    def folded(self) -> "CoefficientNet":
        """A copy for export: inverse DCT, filters and normalisation as one transposed convolution."""
        plain = copy.deepcopy(self).eval()
        plain.luma = _folded(plain.luma)
        plain.chroma = nn.ModuleList(_folded(filters) for filters in plain.chroma)
        return plain


class _Filters(nn.Module):
    """Normalised responses of learned filters on the plane that blocks of indices stand for.

    Args:
        channels: filters.
        side, stride: of a filter, in samples.
        table: steps of the indices.
    """

    basis: Tensor

    def __init__(self, channels: int, side: int, stride: int, table: tuple[int, ...]) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.empty(channels, 1, side, side))
        nn.init.kaiming_uniform_(self.filters, nonlinearity="relu")
        self.normalize = nn.BatchNorm2d(channels)
        self.stride = stride
        basis = np.einsum("ui,vj->uvij", DCT, DCT) * np.reshape(table, (BLOCK, BLOCK, 1, 1)) / _PIXEL_SCALE
        self.register_buffer("basis", torch.from_numpy(basis.reshape(-1, 1, BLOCK, BLOCK).astype(np.float32)), False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64, rows, columns) indices to (n, channels, rows * 8 / stride, columns * 8 / stride)."""
        positions = BLOCK // self.stride
        return self.normalize(nn.functional.conv_transpose2d(x, self.weight(), None, positions, padding=1))

    def weight(self) -> Tensor:
        """(64, channels, k, k): each coefficient's response at its block's positions and one beyond on each side."""
        side = self.filters.shape[2]
        # The response at position -1 begins (side - stride) / 2 + stride samples before the block.
        before = (side - self.stride) // 2 + self.stride
        padded = nn.functional.pad(self.basis, [before] * 4)
        return nn.functional.conv2d(padded, self.filters, stride=self.stride)

    @torch.no_grad()
    def folded(self) -> nn.ConvTranspose2d:
        """The same as one layer, in evaluation mode."""
        norm, weight = self.normalize, self.weight()
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None  # kept by default
        scale = norm.weight / (variance + norm.eps).sqrt()
        layer = nn.ConvTranspose2d(BLOCK * BLOCK, len(scale), weight.shape[2], BLOCK // self.stride, 1)
        layer.weight.copy_(weight * scale[None, :, None, None])
        assert layer.bias is not None
        layer.bias.copy_(norm.bias - mean * scale)
        return layer


def _folded(filters: nn.Module) -> nn.Module:
    return filters.folded() if isinstance(filters, _Filters) else filters


def exact_indices(levels: Tensor, profile: GuardProfile) -> Tensor:
    """float32 indices (n, 64, 3h/16, w/8) by the integer transform of the device.

    A batch is one tall frame: its pictures' sides are whole blocks.
    """
    frames = to_frames(levels)
    count, height, width, _ = frames.shape
    luma, cb, cr = frame_planes(frames.reshape(count * height, width, 3), profile)
    y, blue, red = (p.reshape(count, -1, p.shape[1], FREQUENCIES) for p in (luma, cb, cr))
    out = np.concatenate([y, np.concatenate([blue, red], axis=2)], axis=1).clip(-128, 127)
    return torch.from_numpy(out.astype(np.float32)).permute(0, 3, 1, 2).to(levels.device)


def smooth_indices(levels: Tensor, profile: GuardProfile) -> Tensor:
    """The same in float without rounding: what the derivative is taken of."""
    chroma = nn.functional.avg_pool2d(chroma_of(levels), 2)
    dct = dct_matrix(levels.device)
    planes = []
    for plane, table in zip((luma_of(levels) - 128, *chroma.split(1, 1)), profile.component_tables, strict=True):
        steps = torch.tensor(table, dtype=torch.float32, device=levels.device).view(BLOCK, BLOCK)
        found = (dct @ to_blocks(plane)[:, 0] @ dct.T / steps).flatten(3)
        planes.append(found.permute(0, 3, 1, 2))
    luma, blue, red = planes
    return torch.cat([luma, torch.cat([blue, red], 3)], 2)


def coefficient_net(classes: int, width: int, size: int, profile: GuardProfile | None) -> CoefficientNet:
    """See `CoefficientNet`.

    Raises:
        InputError: no single `ycbcr420` profile, or a size that is no multiple of 16.
    """
    if profile is None or profile.color != "ycbcr420":
        raise InputError(
            "the network dct11 reads quantization indices: codec has to be one ycbcr420 profile, like jpeg:75"
        )
    if size % MCU:
        raise InputError(f"the network dct11 takes pictures whose side is a multiple of {MCU}, not {size}")
    return CoefficientNet(classes, width, profile)
