"""Convolutions with their normalisation, the parts that our networks share."""

from typing import Any

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x + self.inner(x)


def convolution(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1, relu6: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size (over its stride), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6() if relu6 else nn.ReLU(),
    )


def pooled(inputs: int, outputs: int) -> nn.Sequential:
    """Half the size by pooling before the normalisation, which then has a quarter of the work."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def in_layout(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """The network with its four-dimensional weights in a memory layout, in place; values and shapes stay."""
    to: dict[str, Any] = {"memory_format": layout}  # torch's annotations of `Module.to` leave this argument out
    return network.to(**to)
