"""Adversarial training: the inner attack, through the codec as the device runs it.

    FGSM-RS   Wong et al. 2020, "Fast is better than free", algorithm 3
    PGD       Madry et al. 2018, section 5
    TRADES    Zhang et al. 2019, equation 5
    free      Shafahi et al. 2019, algorithm 1 (the perturbation begins anew with each batch)

The codec runs forward as it is; backward it is what `surrogates` has (BPDA). Perturbed images are whole levels, as a
file or a wire would carry them.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.differentiable.dct_step import dct_direction
from edgeguard.differentiable.guarded_victim import GuardedVictim
from edgeguard.differentiable.lattice_run import LatticeRun
from edgeguard.differentiable.lattice_step import LatticeBudget
from edgeguard.errors import InputError
from edgeguard.train.config import AdversarialConfig

#: float32 (n, 3, h, w) levels to logits, the codec included.
Victim = Callable[[Tensor], Tensor]


def adversarial_losses(
    victim: Victim,
    levels: Tensor,
    targets: Tensor,
    config: AdversarialConfig,
    generator: torch.Generator,
    *,
    label_smoothing: float = 0.0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The losses to step on for one batch, each with the logits that it was made of.

    One for every method but `free`, which gives `config.steps` (the caller steps on each before it takes the next).

    Args:
        victim: see `Victim`.
        levels: float32 (n, 3, h, w), 0..255.
        targets: (n,) class indices.
        config: the inner attack.
        generator: of its noise.
        label_smoothing: share of the target given to all classes, 0..0.5.
    """

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    if config.method == "free":
        if config.lattice:
            raise InputError("adversarial.lattice is for the methods fgsm-rs, pgd and trades, not for free")
        yield from _free(victim, levels, loss_of, config, generator)
        return
    changed = attacked_images(victim, levels, targets, config, generator)
    yield loss_on(victim, levels, changed, targets, config, label_smoothing=label_smoothing)


def attacked_images(
    victim: Victim,
    levels: Tensor,
    targets: Tensor,
    config: AdversarialConfig,
    generator: torch.Generator,
    soft: Tensor | None = None,
) -> Tensor:
    """The batch as the inner attack changes it, for every method but `free`; arguments as `adversarial_losses`.

    With `soft`, (n, classes) probabilities of a teacher, it leads away from those instead of from the right class.
    """
    if soft is not None or config.method == "trades":
        clean = _probabilities(victim, levels) if soft is None else soft
        return _perturbed(
            victim, levels, lambda out: F.kl_div(out.log_softmax(1), clean, reduction="sum"), config, generator
        )
    return _perturbed(victim, levels, lambda out: F.cross_entropy(out, targets, reduction="sum"), config, generator)


@torch.no_grad()
def _probabilities(victim: Victim, levels: Tensor) -> Tensor:
    return victim(levels).softmax(1)


def loss_on(
    victim: Victim,
    levels: Tensor,
    changed: Tensor,
    targets: Tensor,
    config: AdversarialConfig,
    *,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch and what the inner attack made of it, with the logits that it was made of."""
    if config.method != "trades":
        logits = victim(changed)
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing), logits
    logits = victim(levels)
    divergence = F.kl_div(victim(changed).log_softmax(1), logits.softmax(1), reduction="batchmean")
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing) + config.beta * divergence, logits


def _perturbed(
    victim: Victim,
    levels: Tensor,
    loss: Callable[[Tensor], Tensor],
    config: AdversarialConfig,
    generator: torch.Generator,
) -> Tensor:
    if config.lattice:
        return _moved_on_the_lattice(victim, levels, loss, config, generator)
    x = project(levels + _noise(levels, config.eps_8bit, generator), levels, config.eps_8bit)
    for _ in range(config.steps):
        x.requires_grad_(True)
        gradient = torch.autograd.grad(loss(victim(x)), x)[0]
        x = project(x.detach() + config.inner_step_8bit * _direction(gradient, config), levels, config.eps_8bit)
    return x.round()


def _moved_on_the_lattice(
    victim: Victim,
    levels: Tensor,
    loss: Callable[[Tensor], Tensor],
    config: AdversarialConfig,
    generator: torch.Generator,
) -> Tensor:
    """The lattice attack of `evaluate` in few turns: all units may move, single flips and gradient signs only."""
    if not isinstance(victim, GuardedVictim) or victim.profile is None or config.eps_8bit < 1:
        raise InputError("adversarial.lattice wants a codec that is one profile, and eps_8bit of at least 1")
    budget = LatticeBudget(victim.profile, levels.round().cpu(), int(config.eps_8bit), victim.room)
    run = LatticeRun(budget, generator, randomly=True)
    for _ in range(config.steps):
        shown = victim.through_guard(run.levels().to(levels.device)).requires_grad_(True)
        gradient = torch.autograd.grad(loss(victim.behind_guard(shown)), shown)[0]
        run.step(gradient.cpu(), share=1.0, momentum=0.75, sets=False)
    return run.levels().to(levels.device)


def _free(
    victim: Victim,
    levels: Tensor,
    loss_of: Callable[[Tensor], Tensor],
    config: AdversarialConfig,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    x = project(levels + _noise(levels, config.eps_8bit, generator), levels, config.eps_8bit)
    for _ in range(config.steps):
        x = x.detach().requires_grad_(True)
        logits = victim(x)
        yield loss_of(logits), logits
        assert x.grad is not None  # the caller went backward
        moved = x.detach() + config.inner_step_8bit * _direction(x.grad, config)
        x = project(moved, levels, config.eps_8bit)


def project(x: Tensor, levels: Tensor, eps_8bit: float) -> Tensor:
    """Into the budget around the images, and into 0..255."""
    return torch.minimum(torch.maximum(x, levels - eps_8bit), levels + eps_8bit).clamp(0, 255)


def _direction(gradient: Tensor, config: AdversarialConfig) -> Tensor:
    return dct_direction(gradient, config.dct_bands) if config.dct_bands else gradient.sign()


def _noise(levels: Tensor, eps_8bit: float, generator: torch.Generator) -> Tensor:
    noise = torch.rand(levels.shape, generator=generator).contiguous(memory_format=torch.channels_last)
    return eps_8bit * (2 * noise.to(levels.device) - 1)
