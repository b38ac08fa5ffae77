"""Small image classifiers that train on a CPU, from (n, 3, size, size) in [-1, 1] to logits."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.train.card_net import SIDE, CardNet
from edgeguard.train.coefficient_net import coefficient_net
from edgeguard.train.layers import Residual, convolution, pooled


class ShallowResNet(nn.Module):
    """A shallow residual network, wide where the picture is small: 612,000 weights at width 32 with 9 layers, 907,000
    with 11 (another residual block at a quarter of the size).

    3x3 convolutions only, because a CPU does them at several times the rate of depthwise ones. With 9 layers the
    picture shrinks by strides, which is fast; with 11 by pooling, which costs half as much again and is a point or two
    better.
    """

    def __init__(self, classes: int, width: int = 32, depth: int = 9) -> None:
        super().__init__()
        shrinking = pooled if depth == 11 else partial(convolution, stride=2)
        self.features = nn.Sequential(
            convolution(3, width),
            shrinking(width, 2 * width),
            Residual(2 * width),
            shrinking(2 * width, 4 * width),
            *([Residual(4 * width)] if depth == 11 else []),
            shrinking(4 * width, 4 * width),
            Residual(4 * width),
        )
        self.classify = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        features = self.features(x)
        return self.classify(nn.functional.max_pool2d(features, features.shape[2:]).flatten(1))


class LeNet(nn.Module):
    """Two 5x5 convolutions with pooling and a hidden layer, without normalization: the usual network for digits.

    The width is that of the first convolution: 20 channels, then 50, then 500 units for width 20.
    """

    def __init__(self, classes: int, width: int = 20, size: int = 28) -> None:
        super().__init__()
        side = (((size - 4) // 2) - 4) // 2
        if side < 1:
            raise InputError(f"the network lenet takes pictures of 16 pixels and more, not {size}")
        second = 5 * width // 2
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, second, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classify = nn.Sequential(
            nn.Linear(second * side * side, 25 * width), nn.ReLU(), nn.Linear(25 * width, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.classify(self.features(x).flatten(1))


class ResNet(nn.Module):
    """The residual networks of He et al. 2016, section 4.2, of 6n + 2 layers: ResNet-8 (n = 1), ResNet-20 (n = 3)."""

    def __init__(self, classes: int, width: int = 16, depth: int = 20) -> None:
        super().__init__()
        blocks: list[nn.Module] = [convolution(3, width)]
        inputs = width
        for stage in range(3):
            for number in range((depth - 2) // 6):
                stride = 2 if stage and not number else 1
                blocks.append(_Basic(inputs, width << stage, stride))
                inputs = width << stage
        self.features = nn.Sequential(*blocks)
        self.classify = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.classify(self.features(x).mean((2, 3)))


class MobileNetV2(nn.Module):
    """Inverted residuals (Sandler et al. 2018) with the strides that pictures of 32 to 96 pixels allow.

    `width` is that of the first layer (32 in the paper).
    """

    #: expansion, channels at width 32, blocks, first stride
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 3, 2), (6, 96, 2, 1), (6, 160, 1, 2))

    def __init__(self, classes: int, width: int = 32, size: int = 32) -> None:
        super().__init__()
        blocks: list[nn.Module] = [convolution(3, width, stride=1 if size <= 48 else 2, relu6=True)]
        inputs = width
        for expansion, channels, count, stride in self.STAGES:
            outputs = max(channels * width // 32 // 8 * 8, 8)
            for number in range(count):
                blocks.append(_Inverted(inputs, outputs, expansion, 1 if number else stride))
                inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.classify = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """See the module."""
        return self.classify(self.features(x).mean((2, 3)))


class _Basic(nn.Module):
    """Two convolutions and a shortcut: plain, or a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            convolution(inputs, outputs, stride=stride),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.inner(x) + self.shortcut(x))


class _Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = [convolution(inputs, hidden, kernel=1, relu6=True)] if expansion > 1 else []
        self.inner = nn.Sequential(
            *wide,
            convolution(hidden, hidden, stride=stride, groups=hidden, relu6=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x) if self.shortcut else self.inner(x)


def _card_net(classes: int, width: int, size: int) -> nn.Module:
    if size != SIDE:
        raise InputError(f"the network cards takes pictures of {SIDE} pixels: set size = {SIDE}")
    return CardNet(classes)


NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "resnet9": lambda classes, width, size: ShallowResNet(classes, width),
    "resnet11": lambda classes, width, size: ShallowResNet(classes, width, 11),
    "resnet8": lambda classes, width, size: ResNet(classes, width, 8),
    "resnet20": lambda classes, width, size: ResNet(classes, width, 20),
    "mobilenetv2": MobileNetV2,
    "lenet": LeNet,
    "cards": _card_net,
}


#: Reads coefficients; the others read pixels.
COEFFICIENTS = "dct11"
#: Votes region by region; see `edgeguard.train.certified`.
REGIONS = "patchcert"


def network(
    name: str,
    classes: int,
    width: int,
    size: int,
    profile: GuardProfile | None = None,
    regions: tuple[int, int] = (8, 4),
) -> nn.Module:
    """A network by name, with fresh weights.

    Args:
        name: see `NETWORKS`.
        classes: how many.
        width: filters of the first layer, where the network has a width.
        size: side of the input, pixels.
        profile: whose indices `dct11` reads.
        regions: field and stride of `patchcert`, pixels.

    Raises:
        InputError: no such network, or one that cannot take this size or profile.

    Example:
        >>> network("resnet9", 10, 32, 32)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    if name == COEFFICIENTS:
        return coefficient_net(classes, width, size, profile)
    if name == REGIONS:
        from edgeguard.train.certified.region_net import RegionNet  # not on a board

        return RegionNet(classes, width, size, field=regions[0], stride=regions[1])
    if name not in NETWORKS:
        known = ", ".join((*NETWORKS, REGIONS, COEFFICIENTS))
        raise InputError(f"there is no network {name!r}; known: {known}, or a .pt2 file")
    return NETWORKS[name](classes, width, size)
