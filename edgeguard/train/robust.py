"""What makes a small net hold more: weights that are perturbed as well, and a larger net's soft labels.

AWP    Wu, Xia and Wang, NeurIPS 2020, "Adversarial weight perturbation helps robust generalization"
RSLAD  Zi et al., ICCV 2021, "Revisiting adversarial robustness distillation": the teacher's probabilities of clean
       images are the labels, of the inner attack too
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.train.adversarial import Victim, attacked_images, loss_on
from edgeguard.train.codec_network import logits as logits_of
from edgeguard.train.config import AdversarialConfig, TrainConfig

#: Of the teacher's part of the loss, the share of attacked images; the rest is for clean ones (RSLAD's 5/6).
_ATTACKED = 5 / 6


class Teacher:
    """A trained net that gives soft labels, levels without codec to probabilities.

    Args:
        network: normalized pixels to logits; it is not trained.
        share: of the loss that its labels get, above 0 and at most 1.
    """

    def __init__(self, network: nn.Module, share: float) -> None:
        self.network, self.share = network.eval(), share
        for parameter in network.parameters():
            parameter.requires_grad_(False)

    @torch.no_grad()
    def __call__(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) to probabilities (n, classes)."""
        return logits_of(self.network, levels, False).softmax(1)

    def to(self, device: torch.device) -> "Teacher":
        """The same on a device."""
        self.network.to(device)
        return self


def check_robust(config: TrainConfig) -> None:
    """Refuse keys that would do nothing.

    Raises:
        InputError: a teacher or perturbed weights without an inner attack, or with the method free.
    """
    if (config.teacher is not None or config.weight_eps) and config.method in ("none", "free"):
        key = "teacher" if config.teacher is not None else "weight_eps"
        raise InputError(f"{key} is for adversarial training with fgsm-rs, pgd or trades, not for {config.method}")


def robust_loss(
    victim: Victim,
    levels: Tensor,
    targets: Tensor,
    config: AdversarialConfig,
    generator: torch.Generator,
    teacher: Teacher | None,
    *,
    label_smoothing: float = 0.0,
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Attack a batch once, and give what computes its loss with the weights as they are then, and the logits.

    Args:
        victim, levels, targets, config, generator, label_smoothing: as `adversarial.adversarial_losses`.
        teacher: whose soft labels take their share of the loss.
    """
    soft = None if teacher is None else teacher(levels)
    changed = attacked_images(victim, levels, targets, config, generator, soft)

    def loss() -> tuple[Tensor, Tensor]:
        if teacher is None or soft is None:
            return loss_on(victim, levels, changed, targets, config, label_smoothing=label_smoothing)
        clean, attacked = victim(levels), victim(changed)
        taught = _ATTACKED * _divergence(attacked, soft) + (1 - _ATTACKED) * _divergence(clean, soft)
        hard = F.cross_entropy(attacked, targets, label_smoothing=label_smoothing)
        return teacher.share * taught + (1 - teacher.share) * hard, attacked

    return loss


@contextmanager
def perturbed_weights(
    network: nn.Module, loss: Callable[[], tuple[Tensor, Tensor]], weight_eps: float
) -> Iterator[None]:
    """Within, the weights of all layers lie where the loss is higher: each by `weight_eps` of its own norm, along its
    gradient. Batch statistics are as before."""
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    statistics = [buffer.clone() for buffer in network.buffers()]
    gradients = torch.autograd.grad(loss()[0], weights)
    moves = [
        weight_eps * weight.detach().norm() / gradient.norm().clamp(min=1e-12) * gradient
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
        torch._foreach_add_(list[Tensor](weights), moves)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_sub_(list[Tensor](weights), moves)


def _divergence(logits: Tensor, soft: Tensor) -> Tensor:
    return F.kl_div(logits.log_softmax(1), soft, reduction="batchmean")
