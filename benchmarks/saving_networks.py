"""Networks for `saving_ways.py`: a random MobileNetV2, a trained one, or what `zoo/train_signs.py` made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.datasets.images import read_folder
from edgeguard_converters.load.torchvision_operators import make_torchvision_importable
from edgeguard_converters.load.zoo.architecture import build

_KEEP = make_torchvision_importable()

import torch  # noqa: E402
import torchvision  # noqa: E402

_CLASSES = 10
_IMAGENET = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])


@dataclass(frozen=True, eq=False)
class Network:
    """A network, the side of its input and its name."""

    name: str
    module: torch.nn.Module
    side: int


def network(weights: Path | None, photos: Path) -> Network:
    """The network of a file.

    Args:
        weights: a .pt2 of a trained MobileNetV2 with its normalization folded, a .pth of `zoo/train_signs.py`, or None
            for a MobileNetV2 with random weights.
        photos: what the normalization of the latter sees.
    """
    if weights is None:
        return Network("random mobilenet_v2", _random(photos, 40), 224)
    if weights.suffix == ".pt2":
        return Network("torchvision:mobilenet_v2", _folded(weights), 224)
    kept = torch.load(weights, weights_only=True)
    module = build(kept["name"], kept["classes"])
    module.load_state_dict(kept["weights"], strict=True)
    return Network(kept["name"], module.eval(), kept["side"])


def _random(photos: Path, count: int) -> torch.nn.Module:
    """A MobileNetV2 whose batch normalization has seen pictures, so that its activations are of a network's size."""
    import cv2

    torch.manual_seed(0)
    net: torch.nn.Module = torchvision.models.mobilenet_v2(num_classes=_CLASSES)
    pictures = [_pixels(image.content()) for image in read_folder(photos)[:count]]
    pixels = np.stack([cv2.resize(picture, (224, 224)) for picture in pictures]).astype(np.float32)
    mean, std = _IMAGENET
    x = ((torch.from_numpy(pixels) - mean) / std).permute(0, 3, 1, 2)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()
        for start in range(0, len(x), 20):
            net(x[start : start + 20])
        head: Any = net.classifier
        torch.nn.init.normal_(head[1].weight, std=0.3)
    return net.eval()


def _folded(program: Path) -> torch.nn.Module:
    """The trained filters in order, each normalization with the bias that was folded into its filter.

    The filters saw pixels of -1..1. The first one gets the difference to what torchvision says of its MobileNetV2, so
    that the family's preprocessing is the right one (but for the padding's gray).
    """
    tensors = [t for t in torch.export.load(program).state_dict.values() if t.ndim]
    net: Any = torchvision.models.mobilenet_v2(num_classes=len(tensors[-1]))
    filters = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    norms: list[Any] = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for filter_, norm, weight, bias in zip(filters, norms, tensors[:-2:2], tensors[1:-2:2], strict=True):
            filter_.weight.copy_(weight)
            norm.bias.copy_(bias)
            norm.running_var.fill_(1 - norm.eps)
        scale, shift = _IMAGENET[1] / 127.5, (_IMAGENET[0] - 127.5) / 127.5
        norms[0].bias.add_((filters[0].weight * shift.view(1, 3, 1, 1)).sum(dim=(1, 2, 3)))
        filters[0].weight.mul_(scale.view(1, 3, 1, 1))
        net.classifier[1].weight.copy_(tensors[-2].flatten(1))
        net.classifier[1].bias.copy_(tensors[-1])
    trained: torch.nn.Module = net.eval()
    return trained


def _pixels(content: Any) -> Any:
    import cv2

    if isinstance(content, np.ndarray):
        return content
    found: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return found[:, :, ::-1]
