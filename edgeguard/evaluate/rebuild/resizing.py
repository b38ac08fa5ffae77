"""TensorFlow Lite's resizes in torch: NHWC, with half-pixel centers, aligned corners, or neither (TensorFlow 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.rebuild.arithmetic import Inputs
from edgeguard.evaluate.rebuild.graph import Operator


def resize_bilinear(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """Two weights along each axis."""
    options, x = operator.options, inputs[0].permute(0, 3, 1, 2)
    if options.alignCorners or options.halfPixelCenters:
        resized = F.interpolate(x, shape[1:3], mode="bilinear", align_corners=bool(options.alignCorners))
    else:
        rows, columns = (_weights(size, wanted) for size, wanted in zip(x.shape[2:], shape[1:3], strict=True))
        resized = rows @ x @ columns.T
    return resized.permute(0, 2, 3, 1)


def resize_nearest_neighbor(operator: Operator, inputs: Inputs, shape: tuple[int, ...]) -> Tensor:
    """The pixel that is nearest, or the one above and left where neither option is set."""
    x = inputs[0]
    for axis in (1, 2):
        x = x.index_select(axis, _nearest(x.shape[axis], shape[axis], operator.options))
    return x


def _weights(size: int, wanted: int) -> Tensor:
    """Of each of `wanted` positions i * size / wanted on the `size` pixels: (wanted, size)."""
    place = torch.arange(wanted, dtype=torch.float32) * (torch.tensor(float(size)) / wanted)
    before = place.floor().long().clamp(max=size - 1)
    share = (place - before)[:, None]
    after = (before + 1).clamp(max=size - 1)
    return F.one_hot(before, size) * (1 - share) + F.one_hot(after, size) * share


def _nearest(size: int, wanted: int, options: object) -> Tensor:
    corners = bool(getattr(options, "alignCorners", False)) and wanted > 1
    half = 0.5 if getattr(options, "halfPixelCenters", False) else 0.0
    scale = (size - 1) / (wanted - 1) if corners else size / wanted
    place = (torch.arange(wanted, dtype=torch.float32) + half) * scale
    place = torch.floor(place + 0.5) if corners else torch.floor(place)
    return place.long().clamp(0, size - 1)
