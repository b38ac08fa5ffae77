"""The card detector's network: anchor-free, one box a cell of 8 pixels, for pictures of 192x144 (torch)."""

import torch
from torch import nn

from edgeguard.train.card_net import Separable, convolution

WIDTH, HEIGHT, STRIDE = 192, 144, 8
COLUMNS, ROWS = WIDTH // STRIDE, HEIGHT // STRIDE


class CardDetector(nn.Module):
    """(n, 3, 144, 192) in [-1, 1] to boxes (n, 432, 4) and scores (n, 432, classes), both in 0..1.

    Boxes are x1, y1, x2, y2 in parts of the input. One scale: cells of 8 pixels see what is around them through two
    coarser maps, so that a sign that fills the picture and one of 15 pixels come from the same head.
    """

    middles: torch.Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            convolution(3, 16, 3, stride=2),
            Separable(16, 24, stride=2),
            Separable(24, 24),
            Separable(24, 48, stride=2),
            Separable(48, 48),
        )
        self.middle = nn.Sequential(Separable(48, 96, stride=2), Separable(96, 96), Separable(96, 96))
        self.coarse = nn.Sequential(convolution(96, 96, 3, stride=2, groups=96), Separable(96, 96), Separable(96, 96))
        self.narrow = convolution(96, 48, 1)
        self.head = nn.Sequential(Separable(48, 48), Separable(48, 48))
        self.score = nn.Conv2d(48, classes, 1)
        self.reach = nn.Conv2d(48, 4, 1)
        for layer, first in ((self.score, -4.6), (self.reach, -2.0)):  # a score of .01 in every cell, at first
            assert layer.bias is not None
            nn.init.constant_(layer.bias, first)
        middles = torch.stack(
            torch.meshgrid((torch.arange(ROWS) + 0.5) / ROWS, (torch.arange(COLUMNS) + 0.5) / COLUMNS, indexing="ij")
        )
        self.register_buffer("middles", middles.flip(0).flatten(1).T.contiguous()[None])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        boxes, logits = self.raw(x)
        return boxes, logits.sigmoid()

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (n, 432, 4) and logits (n, 432, classes)."""
        fine = self.fine(x)
        middle = self.middle(fine)
        middle = middle + _enlarged(self.coarse(middle), middle)
        seen = self.head(fine + _enlarged(self.narrow(middle), fine))
        reach = self.reach(seen).flatten(2).transpose(1, 2).sigmoid()
        boxes = torch.cat([self.middles - reach[..., :2], self.middles + reach[..., 2:]], 2).clamp(0, 1)
        return boxes, self.score(seen).flatten(2).transpose(1, 2)


def _enlarged(coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """A map twice as large; 9 rows come from 5, whose last is cut."""
    enlarged = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return enlarged[:, :, : fine.shape[2], : fine.shape[3]]
