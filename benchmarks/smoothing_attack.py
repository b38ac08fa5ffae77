"""Attack a smoothed network inside its certified radii: no certified label may change.

    python benchmarks/smoothing_attack.py t/ --data cifar.zip --sigma 0.25 --images 200 --draws 1000

The folder is one of `edgeguard train --smoothing`. Each image is certified first (the network in float, noise, rounding
and clipping as on the device). Then L2-PGD on the mean probability of noisy copies moves it by at most .99 of its
radius, in whole levels, and the smoothed network answers again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.integer_noise import IntegerNoise
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.restore import balanced_test_part, restored

_STEPS, _COPIES, _SHARE = 20, 16, 0.99


def attacked(
    network: torch.nn.Module, image: NDArray[np.uint8], label: int, radius: float, sigma: float, seed: int
) -> NDArray[np.uint8]:
    """An image, uint8 (h, w, 3), moved against its label by less than `radius` (L2, pixels 0..1), in whole levels."""
    levels, limit = to_levels(image[None]), _SHARE * 255 * radius
    generator, target = torch.Generator().manual_seed(seed), torch.tensor([label])
    change = torch.zeros_like(levels)
    for _ in range(_STEPS):
        change.requires_grad_(True)
        noise = 255 * sigma * torch.randn((_COPIES, *levels.shape[1:]), generator=generator)
        mean = network(levels + change + noise).softmax(1).mean(0, keepdim=True)
        gradient = torch.autograd.grad(F.nll_loss((mean + 1e-10).log(), target), change)[0]
        moved = change.detach() + 2.5 * limit / _STEPS * gradient / gradient.norm().clamp(min=1e-12)
        change = (levels + moved * min(1.0, limit / float(moved.norm()))).clamp(0, 255) - levels
    whole = change.detach().trunc()  # towards the image: never farther than the limit
    changed = (levels + whole)[0].permute(1, 2, 0).numpy()
    return np.asarray(changed, np.uint8)


def counted(
    network: CodecNetwork, images: NDArray[np.uint8], sigma: float, draws: int, *, attack: bool = True
) -> dict[str, float]:
    """Of some images: how many have a certificate, how many of these the attack changed, and how far it went.

    A changed answer is one that the smoothed network certifies for another class.
    """
    plan, noise = SmoothingPlan(sigma, draws), IntegerNoise(sigma)

    @torch.no_grad()
    def classify(pixels: NDArray[np.uint8]) -> int:
        return int(network(to_levels(pixels[None])).argmax())

    certified, changed, unsure, share = 0, 0, 0, 0.0
    for number, image in enumerate(images):
        found = certify(classify, image, noise, plan, np.random.default_rng([0, number]))
        if found.prediction is None or found.radius is None:
            continue
        certified += 1
        if attack:
            other = attacked(network, image, found.prediction, found.radius, sigma, number)
            again = certify(classify, other, noise, plan, np.random.default_rng([1, number]))
            changed += again.prediction not in (None, found.prediction)
            unsure += again.prediction is None
            share += float(np.linalg.norm(other.astype(float) - image)) / 255 / found.radius
    done = max(certified, 1)
    return {"certified": certified, "changed": changed, "abstains": unsure, "mean_share_of_radius": share / done}


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--sigma", type=float, default=0.25)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = restored(given.folder)
    part, _, source = balanced_test_part(run.config, given.data, given.images)
    network = CodecNetwork(run.network, TrainingCodec(run.config.codec))
    pixels = part.pixels(np.arange(len(part)), run.config.size)
    print(json.dumps({"images": source, **counted(network, pixels, given.sigma, given.draws)}))


if __name__ == "__main__":
    main()
