"""The card model's network: a small depthwise-separable classifier for 128x128 pictures (torch)."""

import torch
from torch import nn

SIDE = 128


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class Separable(nn.Module):
    """Depthwise 3x3, then pointwise; with a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = convolution(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = convolution(inputs, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = self.pointwise(self.depthwise(x))
        return x + y if self.shortcut else y


class CardNet(nn.Module):
    """(n, 3, 128, 128) in [-1, 1] to (n, classes) logits.

    The maximum over places, not the mean, feeds the classifier: a card ten widths away covers 2 % of the picture.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 16, 3, stride=2),
            Separable(16, 24),
            Separable(24, 48, stride=2),
            Separable(48, 48),
            Separable(48, 96, stride=2),
            Separable(96, 96),
            Separable(96, 96),
            Separable(96, 160, stride=2),
            Separable(160, 160),
        )
        self.classify = nn.Linear(160, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 (n, 3, 128, 128) in [-1, 1] to (n, classes) logits."""
        features = self.features(x)
        # max_pool2d, not amax: the int8 quantiser knows MAX_POOL_2D and leaves REDUCE_MAX in float.
        return self.classify(nn.functional.max_pool2d(features, SIDE // 16).flatten(1))
