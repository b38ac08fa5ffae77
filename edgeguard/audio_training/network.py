"""The small network of sound: two convolutions and two dense layers, the seed's net at the size of a board."""

from torch import Tensor, nn

_HIDDEN = 64


class SoundNet(nn.Module):
    """From (n, planes, rows, columns) in about [-1, 1] to logits.

    Args:
        shape: rows, columns and planes of the input.
        classes: how many.
        width: filters of the first convolution; the second has twice as many. Both halve the sides.
        dropout: share of the last features that a training step leaves out.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        rows, columns, planes = shape
        self.features = nn.Sequential(
            nn.Conv2d(planes, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        flat = 2 * width * ((rows + 3) // 4) * ((columns + 3) // 4)
        self.classify = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(flat, _HIDDEN, bias=False),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.classify(self.features(x))
