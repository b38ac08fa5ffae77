"""A classifier of regions: each sees a small square of the picture and votes; the mean of the votes is the answer.

After BagCert (Metzen and Yatsura, ICLR 2021): a patch changes the votes of those regions that it touches, and no
others. How many those are is bounded by the receptive field and the stride. `edgeguard.model.patch_certificate` does
the proof, on the integers of the converted file; nothing here is taken on trust there.
"""

from itertools import product

import torch
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.train.layers import convolution

#: Every vote lies between 0 and this: the last convolution's ReLU6, which int8 keeps exactly.
HIGHEST_VOTE = 6.0
STRIDES = (1, 2, 4, 8, 16)
_HALVING = (4, 3, 2, 5, 6)  # kernels of a halving convolution, best first; all of them keep half the size
_BLOCKS = 2


class RegionNet(nn.Module):
    """(n, 3, size, size) in [-1, 1] to (n, classes): the mean vote of the regions, 0..6.

    Halving convolutions, 3x3 ones until the field is reached, a learned offset for each place (a sky is above), then
    1x1 convolutions, which see no more than they are given.

    Args:
        classes: how many.
        width: filters of the first layer; each halving doubles them.
        size: side of the picture, pixels; a multiple of the stride.
        field: side of the square that a region sees, pixels.
        stride: pixels from a region to the next.

    Raises:
        InputError: no kernels make this field at this stride, or the size is no multiple of the stride.

    Example:
        >>> RegionNet(10, 16, 32, field=8, stride=4).votes(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10, 8, 8])
    """

    def __init__(self, classes: int, width: int, size: int, *, field: int, stride: int) -> None:
        super().__init__()
        kernels, squares = kernels_of(field, stride)
        if size % stride or size < field:
            raise InputError(f"a region net of stride {stride} and field {field} does not fit {size} pixels")
        layers: list[nn.Module] = []
        inputs, outputs = 3, width
        for kernel in kernels:
            layers.append(_halving(inputs, outputs, kernel))
            inputs, outputs = outputs, 2 * outputs
        for _ in range(squares):
            layers.append(convolution(inputs, outputs))
            inputs = outputs
        side = size // stride
        self.see = nn.Sequential(*layers)
        self.place = nn.Parameter(torch.zeros(1, inputs, side, side))
        self.think = nn.Sequential(*(_Thought(inputs) for _ in range(_BLOCKS)))
        self.vote = nn.Conv2d(inputs, classes, 1)
        assert self.vote.bias is not None
        nn.init.constant_(self.vote.bias, 1.5)  # votes begin where they have a derivative

    def votes(self, x: Tensor) -> Tensor:
        """(n, 3, size, size) to (n, classes, size / stride, size / stride), each 0..6."""
        return nn.functional.relu6(self.vote(self.think(self.see(x) + self.place)))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.votes(x).mean((2, 3))


class _Thought(nn.Module):
    """Two 1x1 convolutions and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            convolution(channels, 2 * channels, kernel=1),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.inner(x))


def kernels_of(field: int, stride: int) -> tuple[tuple[int, ...], int]:
    """Kernels of the halving convolutions, and how many 3x3 ones follow, so that a region sees `field` pixels.

    Raises:
        InputError: there are none; the message names fields that there are.

    Example:
        >>> kernels_of(8, 4)
        ((4, 3), 0)
    """
    if stride not in STRIDES:
        raise InputError(f"a region net's stride is {', '.join(map(str, STRIDES))}, not {stride}")
    found = _all_kernels(stride, field)
    if field not in found:
        near = sorted(found, key=lambda other: (abs(other - field), other))[:3]
        said = ", ".join(map(str, sorted(near))) or "none"
        raise InputError(f"no convolutions of stride {stride} see exactly {field} pixels; near it: {said}")
    return found[field]


def _all_kernels(stride: int, most: int) -> dict[int, tuple[tuple[int, ...], int]]:
    """Fields up to a little beyond `most`, and the first kernels that make them."""
    halvings = stride.bit_length() - 1
    found: dict[int, tuple[tuple[int, ...], int]] = {}
    for kernels in product(_HALVING, repeat=halvings):
        field = 1 + sum((kernel - 1) << place for place, kernel in enumerate(kernels))
        for squares in range(0 if halvings else 1, 2 + most // (2 * stride)):
            found.setdefault(field + 2 * stride * squares, (kernels, squares))
    return found


def _halving(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 2, (kernel - 1) // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
