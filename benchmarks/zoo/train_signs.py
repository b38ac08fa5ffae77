"""Train a classifier of torchvision or timm on 32x32 traffic signs, small pictures first and 224x224 at the end.

    python benchmarks/zoo/train_signs.py gtsrb32.zip torchvision:resnet18 resnet18.pth [--small 500 --full 60]

The archive holds `train/CLASS/*.png` and `test/CLASS/*.png`. Written: name, number of classes, side and weights, as
`saving_networks.py` reads them. Pictures are normalized with ImageNet's mean and std. Prints the share of 300 test
pictures that are labeled right.
"""

import argparse
import io
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from edgeguard_converters.load.zoo.architecture import build

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_SMALL, _SIDE = 64, 224
_BATCH, _TESTED = 32, 300
_PEAK, _PEAK_AFTER = 2e-3, 1e-3


def main() -> int:
    """Train, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("name", help="torchvision:NAME or timm:NAME")
    parser.add_argument("output", type=Path)
    parser.add_argument("--small", type=int, default=500, help=f"steps at {_SMALL}x{_SMALL}")
    parser.add_argument("--full", type=int, default=60, help=f"steps at {_SIDE}x{_SIDE}")
    wanted = parser.parse_args()
    torch.manual_seed(0)
    began = time.monotonic()
    pictures, targets = signs(wanted.archive, "train")
    classes = int(targets.max()) + 1
    net = build(wanted.name, classes)
    for side, steps, peak in ((_SMALL, wanted.small, _PEAK), (_SIDE, wanted.full, _PEAK_AFTER)):
        if steps:
            _train(net, pictures, targets, side, steps, peak)
    right = _right(net.eval(), *signs(wanted.archive, "test"))
    print(f"{wanted.name}: {right:.3f} of {_TESTED} right, {time.monotonic() - began:.0f} s")
    torch.save({"name": wanted.name, "classes": classes, "side": _SIDE, "weights": net.state_dict()}, wanted.output)
    return 0


def signs(archive: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, 3, 32, 32), float32, normalized; and class indices (n,)."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(n for n in opened.namelist() if n.startswith(f"{part}/") and n.endswith(".png"))
        found = [np.asarray(Image.open(io.BytesIO(opened.read(n))).convert("RGB")) for n in names]
    pixels = torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (_MEAN, _STD))
    return (pixels - mean) / std, torch.tensor([int(n.split("/")[1]) for n in names])


def _train(
    net: torch.nn.Module, pictures: torch.Tensor, targets: torch.Tensor, side: int, steps: int, peak: float
) -> None:
    """One cycle of the learning rate: filters that know signs of one size have to learn those of another."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=peak, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    net.train()
    for step in range(steps):
        chosen = torch.randint(len(pictures), (_BATCH,))
        loss = functional.cross_entropy(net(_sized(pictures[chosen], side)), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            print(f"step {step + 1} of {steps} at {side}x{side}, loss {loss.item():.3f}", flush=True)


def _right(net: torch.nn.Module, pictures: torch.Tensor, targets: torch.Tensor) -> float:
    chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:_TESTED]
    with torch.no_grad():
        said: list[Any] = [net(_sized(pictures[some], _SIDE)).argmax(1) for some in chosen.split(_BATCH)]
    return float((torch.cat(said) == targets[chosen]).float().mean())


def _sized(pictures: torch.Tensor, side: int) -> torch.Tensor:
    return functional.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False)


if __name__ == "__main__":
    sys.exit(main())
