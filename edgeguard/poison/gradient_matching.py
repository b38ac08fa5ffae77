"""Gradient matching (Geiping et al., ICLR 2021): images that pull a training where one target's wrong label would.

Written from the paper, section 3: the poisons' gradient is aligned with that of the target under the wished-for label,
by signed Adam on a bounded perturbation, over random augmentations; the restart with the lowest loss wins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_levels

Forward = Callable[[Tensor], Tensor]
Progress = Callable[[str, int, int], None]
_STEP_LEVELS = 6.4  # .1 of the paper's normalized units, whose unit is about 64 levels on CIFAR-10
_DROPS = (3 / 8, 5 / 8, 7 / 8)


@dataclass(frozen=True)
class Brew:
    """How the perturbation is looked for.

    Attributes:
        eps_8bit: bound of each pixel, levels.
        steps: of each restart.
        restarts: the best of them is taken.
        shift: pixels that the augmentation moves by.
        flip: whether it mirrors.
        seed: of everything random.
    """

    eps_8bit: float = 16.0
    steps: int = 250
    restarts: int = 8
    shift: int = 4
    flip: bool = True
    seed: int = 0


def gradients(
    forward: Forward, parameters: Sequence[Tensor], levels: Tensor, targets: Tensor, *, create: bool
) -> list[Tensor]:
    """The gradient of the mean cross-entropy by the parameters; `create`: with a derivative of its own."""
    loss = F.cross_entropy(forward(levels), targets)
    return list(torch.autograd.grad(loss, parameters, create_graph=create))


def matching_loss(
    forward: Forward, parameters: Sequence[Tensor], levels: Tensor, targets: Tensor, wanted: Sequence[Tensor]
) -> Tensor:
    """1 less the cosine between the images' gradient and the wanted one, over all parameters together (equation 3)."""
    found = gradients(forward, parameters, levels, targets, create=True)
    product = torch.stack([(a * b).sum() for a, b in zip(found, wanted, strict=True)]).sum()
    lengths = [torch.stack([a.square().sum() for a in side]).sum().sqrt() for side in (found, wanted)]
    return 1 - product / (lengths[0] * lengths[1] + 1e-12)


def brewed(
    forward: Forward,
    parameters: Sequence[Tensor],
    images: NDArray[np.uint8],
    target: NDArray[np.uint8],
    wished: int,
    *,
    brew: Brew,
    progress: Progress = lambda what, done, total: None,
) -> tuple[NDArray[np.uint8], float]:
    """The images, moved by at most the budget, whole levels; and the matching loss that they reach as they are.

    Args:
        forward: levels (n, 3, h, w) to logits, in evaluation mode.
        parameters: of the network that the gradient is of.
        images: (n, h, w, 3) of the wished-for class.
        target: (h, w, 3) that is to be called so.
        wished: the class's index.
        brew: see the class.
        progress: called with what, steps done, steps in all.
    """
    clean = to_levels(images)
    labels = torch.full((len(images),), wished)
    wanted = gradients(forward, parameters, to_levels(target[None]), labels[:1], create=False)
    best, lowest = images, float("inf")
    for restart in range(brew.restarts):
        rng = np.random.default_rng([brew.seed, 13, restart])
        first = restart * brew.steps

        def told(step: int, first: int = first) -> None:
            progress("brewing", first + step, brew.restarts * brew.steps)

        moved = _one(forward, parameters, clean, labels, wanted, brew=brew, rng=rng, told=told)
        loss = float(matching_loss(forward, parameters, to_levels(moved), labels, wanted).detach())
        if loss < lowest:
            best, lowest = moved, loss
    return best, lowest


def _one(
    forward: Forward,
    parameters: Sequence[Tensor],
    clean: Tensor,
    labels: Tensor,
    wanted: Sequence[Tensor],
    *,
    brew: Brew,
    rng: np.random.Generator,
    told: Callable[[int], None],
) -> NDArray[np.uint8]:
    drawn = rng.normal(0, brew.eps_8bit / 2, clean.shape).clip(-brew.eps_8bit, brew.eps_8bit)
    delta = torch.from_numpy(drawn.astype(np.float32)).requires_grad_(True)
    optimizer = torch.optim.Adam([delta], lr=_STEP_LEVELS)
    drops = [round(share * brew.steps) for share in _DROPS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    for step in range(brew.steps):
        optimizer.zero_grad()
        seen = augmented(clean + delta, brew, rng)
        loss = matching_loss(forward, parameters, seen, labels, wanted)
        (gradient,) = torch.autograd.grad(loss, [delta])
        delta.grad = gradient.sign()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            delta.clamp_(-brew.eps_8bit, brew.eps_8bit)
            delta.copy_((clean + delta).clamp(0, 255) - clean)
        told(step + 1)
    whole = (clean + delta.detach().trunc()).clamp(0, 255)  # towards the picture: never beyond the budget
    return whole.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def augmented(levels: Tensor, brew: Brew, rng: np.random.Generator) -> Tensor:
    """Each picture mirrored half of the time and moved by up to `shift` pixels, reflected at the edge: differentiable,
    and the same as what a training does."""
    if brew.flip:
        mirrored = torch.from_numpy(rng.random((len(levels), 1, 1, 1)) < 0.5)
        levels = torch.where(mirrored, levels.flip(3), levels)
    if not brew.shift:
        return levels
    height, width = levels.shape[2:]
    padded = F.pad(levels, (brew.shift,) * 4, "reflect")
    down, right = rng.integers(0, 2 * brew.shift + 1, (2, len(levels)))
    return torch.stack([
        one[:, y : y + height, x : x + width]
        for one, y, x in zip(padded, down.tolist(), right.tolist(), strict=True)
    ])  # fmt: skip
