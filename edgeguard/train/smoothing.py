"""Training the base of a randomized smoothing: its images carry Gaussian noise.

    gaussian    Cohen et al. 2019, section 3.3: noisy copies, cross-entropy
    smoothadv   Salman et al. 2019, section 2.2: an L2 attack on the smoothed network, whose noise the step keeps
    macer       Zhai et al. 2020, algorithm 1: cross-entropy of the mean over noisy copies, and a hinge on the radius

The noise is added to levels in front of the codec; behind it a device rounds and clips, and so does the victim here:
what is trained is the function that `evaluate certify --smoothing` certifies.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.errors import InputError
from edgeguard.train.adversarial import Victim
from edgeguard.train.config import SmoothingConfig, TrainConfig

_LEAST = 1e-10  # probabilities, before a logarithm


def smoothing_loss(
    victim: Victim,
    levels: Tensor,
    targets: Tensor,
    config: SmoothingConfig,
    generator: torch.Generator,
    *,
    done: float = 1.0,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The loss of one batch, and a row of logits for each image.

    Args:
        victim: levels to logits, codec, rounding and clipping included.
        levels: float32 (n, 3, h, w), 0..255, without noise.
        targets: (n,) class indices.
        config: which method.
        generator: of the noise.
        done: share of the training that is done, 0..1, for the warm-up.
        label_smoothing: share of the target given to all classes (not for macer's mean).
    """
    copies = config.copies
    wide, repeated = levels.repeat_interleave(copies, 0), targets.repeat_interleave(copies, 0)
    noise = _noise(wide, config.sigma, generator)
    if config.smoothing == "smoothadv":
        eps = (
            config.noise_eps_8bit * min(done / config.noise_warmup, 1.0)
            if config.noise_warmup
            else config.noise_eps_8bit
        )
        wide = wide + _attack(victim, levels, targets, noise, eps, config).repeat_interleave(copies, 0)
    logits = victim((wide + noise).contiguous(memory_format=torch.channels_last))
    by_image = logits.reshape(len(levels), copies, -1)
    if config.smoothing == "macer":
        return macer_loss(by_image, targets, config), by_image.mean(1)
    return F.cross_entropy(logits, repeated, label_smoothing=label_smoothing), by_image.mean(1)


def macer_loss(logits: Tensor, targets: Tensor, config: SmoothingConfig) -> Tensor:
    """MACER's loss: the smoothed network's cross-entropy, and a hinge on the radius of images that it gets right.

    Args:
        logits: (n, copies, classes) of noisy copies of n images.
        targets: (n,).
        config: its weight, scale and margin.

    Example:
        >>> macer_loss(torch.zeros(2, 4, 3), torch.tensor([0, 1]), SmoothingConfig(smoothing="macer")).isfinite().item()
        True
    """
    mean = logits.softmax(2).mean(1)
    plain = F.nll_loss((mean + _LEAST).log(), targets)
    sharp = (config.macer_scale * logits).softmax(2).mean(1)
    top, which = sharp.topk(2, 1)
    normal = torch.distributions.Normal(0.0, 1.0)
    # A probability of exactly 1 has an infinite radius, which no hinge pushes: such images count nothing.
    right = (which[:, 0] == targets) & (top[:, 0] < 1) & (top[:, 1] > 0)
    if not bool(right.any()):
        return plain
    top = top[right]
    radius: Tensor = normal.icdf(top[:, 0]) - normal.icdf(top[:, 1])
    hinge = (config.macer_margin - radius).clamp(min=0).sum() / len(targets)
    return plain + config.macer_weight * config.sigma / 2 * hinge


def noisy_levels(levels: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Levels, float32 (n, 3, h, w) 0..255, with Gaussian noise of `sigma` (pixels 0..1); not rounded, not clipped."""
    return levels + _noise(levels, sigma, generator)


def check_smoothing(config: TrainConfig) -> None:
    """Refuse what does not go with the training of a base for smoothing.

    Raises:
        InputError: an inner attack of another kind, mixup, an ensemble, or a network that reads coefficients.
    """
    if config.smoothing == "none":
        return
    if config.method != "none":
        raise InputError("smoothing and adversarial.method are two ways to train: give one (smoothadv attacks as well)")
    if config.mixup:
        raise InputError("smoothing keeps labels as they are: leave out mixup")
    if config.network == "dct11":
        raise InputError(
            "the network dct11 reads coefficients, and the noise is added to pixels: choose another network"
        )
    if config.smoothing == "macer" and config.copies < 2:
        raise InputError("macer estimates a radius from noisy copies: noise_draws wants 2 or more")


def _noise(levels: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(levels.shape, generator=generator).contiguous(memory_format=torch.channels_last)
    return 255 * sigma * noise.to(levels.device)


def _attack(
    victim: Victim, levels: Tensor, targets: Tensor, noise: Tensor, eps: float, config: SmoothingConfig
) -> Tensor:
    """SmoothAdv's change of each image, (n, 3, h, w), at most `eps` levels in L2: it lowers the mean probability."""
    copies, change = config.copies, torch.zeros_like(levels)
    for _ in range(config.noise_steps if eps > 0 else 0):
        change.requires_grad_(True)
        shown = ((levels + change).repeat_interleave(copies, 0) + noise).contiguous(memory_format=torch.channels_last)
        mean = victim(shown).softmax(1).reshape(len(levels), copies, -1).mean(1)
        loss = F.nll_loss((mean + _LEAST).log(), targets, reduction="sum")
        gradient = torch.autograd.grad(loss, change)[0]
        moved = change.detach() + 2 * eps / config.noise_steps * gradient / _lengths(gradient)
        change = moved * (eps / _lengths(moved)).clamp(max=1)
        # The changed image is an image: what leaves 0..255 before the noise is no input of the smoothed network.
        change = (levels + change).clamp(0, 255) - levels
    return change.detach()


def _lengths(changes: Tensor) -> Tensor:
    return changes.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, 1, 1, 1)
