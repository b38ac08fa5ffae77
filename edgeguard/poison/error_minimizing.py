"""Class-wise error-minimizing noise (Huang et al., ICLR 2021): a pattern that leaves a net nothing to learn."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import GradientMode

_BATCH, _NET_STEPS, _NOISE_STEPS, _STEP_SHARE = 128, 20, 20, 0.1


def error_minimizing(
    network: nn.Module,
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    classes: int,
    *,
    eps_8bit: float,
    rounds: int,
    seed: int,
    codec: str = "none",
    gradient: GradientMode = "straight-through",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> NDArray[np.float32]:
    """A pattern for each class, by turns with the network that is to learn from it (the paper's equation 2).

    A round is 20 steps of the network on images with patterns, and 20 signed steps of the patterns on batches of their
    classes, down the loss.

    Args:
        network: fresh; it is trained here.
        images, targets: (n, h, w, 3) and (n,).
        classes: how many there are.
        eps_8bit: bound of a pattern, levels.
        rounds: of both.
        seed: of everything random.
        codec: that images go through on their way to the network: an attacker who knows the defense.
        gradient: the codec's derivative that the attacker uses.
        progress: called with what, rounds done, rounds in all.

    Returns:
        (classes, h, w, 3) to be added, whole levels.
    """
    rng = np.random.default_rng([seed, 14])
    torch.manual_seed(seed)
    height, width = images.shape[1:3]
    noise = torch.zeros(classes, 3, height, width)
    victim = CodecNetwork(network, TrainingCodec(codec), gradient, rng)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for number in range(rounds):
        network.train()
        for _ in range(_NET_STEPS):
            levels, labels = _batch(images, targets, rng)
            loss = F.cross_entropy(victim(_with(levels, noise[labels])), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        for _ in range(_NOISE_STEPS):
            levels, labels = _batch(images, targets, rng)
            free = noise.clone().requires_grad_(True)
            loss = F.cross_entropy(victim(_with(levels, free[labels])), labels)
            (slope,) = torch.autograd.grad(loss, [free])
            noise = (noise - _STEP_SHARE * eps_8bit * slope.sign()).clamp(-eps_8bit, eps_8bit)
        progress("noise", number + 1, rounds)
    return noise.trunc().permute(0, 2, 3, 1).contiguous().numpy()


def _batch(images: NDArray[np.uint8], targets: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows = rng.integers(0, len(images), _BATCH)
    return to_levels(images[rows]), torch.from_numpy(targets[rows])


def _with(levels: Tensor, noise: Tensor) -> Tensor:
    return (levels + noise).clamp(0, 255)
