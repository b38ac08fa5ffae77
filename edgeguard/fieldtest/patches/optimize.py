"""Making a patch: gradient steps in expectation over views, through everything between the printer and the model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.errors import InputError
from edgeguard.fieldtest.patches.printing import View, non_printability, photographed, total_variation
from edgeguard.fieldtest.patches.scenes import Scenes
from edgeguard.fieldtest.sheets.sheet import Picture, mask_of
from edgeguard.system.foreign import foreign_json
from edgeguard.train.tensors import fitting, load_tensors, not_finite, save_tensors

#: Levels (n, 3, h, w) of frames to (n, classes).
Classifier = Callable[[Tensor], Tensor]
#: Frames and the views that they show, to the loss of the patch and where it had its way: bool (n,).
Attempt = Callable[[Tensor, Sequence[View]], tuple[Tensor, Tensor]]
_CHECKPOINT_EVERY = 25


@dataclass(frozen=True)
class Recipe:
    """How a patch is made.

    Attributes:
        target: output index it aims at; None aims away from the right one.
        steps, batch: gradient steps, views in each.
        learning_rate: Adam's, levels.
        resolution: pixels along the patch's side.
        shape: see `sheet.mask_of`.
        smoothness, printability: weights of the two terms, per level.
        seed: of the first pixels and of all views.
        count: of stickers; their pictures stand side by side.
        naturalness: weight of the term that keeps the patch like what it covers, per level.
    """

    target: int | None
    _: KW_ONLY
    steps: int = 600
    batch: int = 8
    learning_rate: float = 10.0
    resolution: int = 32
    shape: str = "square"
    smoothness: float = 0.01
    printability: float = 0.01
    seed: int = 0
    count: int = 1
    naturalness: float = 0.0

    def facts(self) -> dict[str, Any]:
        """For the identity of a checkpoint; what came later stands there only where it is used."""
        later = {"count": 1, "naturalness": 0.0}
        return {key: value for key, value in asdict(self).items() if key not in later or value != later[key]}


def make_patch(
    classifier: Classifier,
    scenes: Scenes,
    recipe: Recipe,
    checkpoint: Path,
    identity: str,
    progress: Callable[[int, int, float], None] = lambda step, steps, share: None,
) -> Picture:
    """Optimise a patch (Brown et al. 2017, arXiv 1712.09665, with the printing terms of Sharif et al. 2016).

    Args:
        classifier: the model behind whatever the patch has to get through.
        scenes: what is drawn from.
        recipe: see there.
        checkpoint: file that keeps the state every 25 steps; a run that finds its own goes on from it.
        identity: of everything else that the result depends on; a checkpoint of another one is refused.
        progress: step, steps, and the share of the last views where the attack had its way.

    Returns:
        The patch, uint8 (resolution, resolution, 3), as sent to the printer.

    Raises:
        InputError: the checkpoint is of another patch, or damaged.
    """
    return optimized(
        classifier_attempt(classifier, recipe.target), scenes, recipe, checkpoint, identity, progress
    )  # fmt: skip


def classifier_attempt(classifier: Classifier, target: int | None) -> Attempt:
    """The loss of a patch against a classifier; see `make_patch`."""

    def attempt(frames: Tensor, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        labels = torch.tensor([view.label for view in views])
        logits = classifier(frames)
        return attack_loss(logits, labels, target), succeeded(logits, labels, target)

    return attempt


def optimized(
    attempt: Attempt,
    scenes: Scenes,
    recipe: Recipe,
    checkpoint: Path | None,
    identity: str,
    progress: Callable[[int, int, float], None] = lambda step, steps, share: None,
    *,
    covered: Picture | None = None,
) -> Picture:
    """`make_patch` for anything that has a loss; see there.

    Args:
        checkpoint: None keeps nothing.
        covered: what the patch covers, for `Recipe.naturalness`, of its size.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    side = recipe.resolution
    shape = (3, side, side * recipe.count)
    patch = torch.randint(64, 192, shape, generator=generator).float().requires_grad_(True)
    below = None if covered is None else torch.from_numpy(np.ascontiguousarray(covered)).permute(2, 0, 1).float()
    mask = torch.from_numpy(mask_of(recipe.shape, side))
    optimizer = torch.optim.Adam([patch], lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps, recipe.learning_rate / 20)
    first = 0 if checkpoint is None else _resume(checkpoint, identity, patch, optimizer, schedule)
    if first > recipe.steps:
        raise InputError(f"{checkpoint} says that {first} of {recipe.steps} steps are done: delete it to begin again")
    for step in range(first, recipe.steps):
        views = [np.random.default_rng([recipe.seed, step, index]) for index in range(recipe.batch)]
        drawn = [(scenes.draw(rng), rng) for rng in views]
        frames = torch.cat([photographed(patch, mask, view, rng) for view, rng in drawn])
        missed, won = attempt(frames, [view for view, _ in drawn])
        smooth = total_variation(patch if recipe.count == 1 else _apart(patch))
        loss = missed + recipe.smoothness * smooth + recipe.printability * non_printability(patch)
        if below is not None:
            loss = loss + recipe.naturalness * (patch - below).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            patch.clamp_(0, 255)
        progress(step + 1, recipe.steps, float(won.float().mean()))
        if checkpoint is not None and ((step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == recipe.steps):
            _keep(checkpoint, identity, step + 1, patch, optimizer, schedule)
    return to_frames(patch[None])[0]


def loss_on_fresh_views(
    attempt: Attempt, scenes: Scenes, recipe: Recipe, picture: Picture, count: int = 12
) -> float:  # fmt: skip
    """Of a finished patch, on views that it was not made on."""
    patch = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float()
    mask = torch.from_numpy(mask_of(recipe.shape, recipe.resolution))
    views = [np.random.default_rng([recipe.seed, 1 << 28, index]) for index in range(count)]
    drawn = [(scenes.draw(rng), rng) for rng in views]
    with torch.no_grad():
        frames = torch.cat([photographed(patch, mask, view, rng) for view, rng in drawn])
        return float(attempt(frames, [view for view, _ in drawn])[0])


def _apart(patch: Tensor) -> Tensor:
    """Stickers (3, p, n p) as channels (3 n, p, p), so that none ends where the next begins."""
    side = patch.shape[1]
    return torch.cat(patch.split(side, dim=2))


def attack_loss(logits: Tensor, labels: Tensor, target: int | None) -> Tensor:
    """Small where the attack has its way; what is clearly won no longer counts."""
    if target is not None:
        return F.cross_entropy(logits, torch.full_like(labels, target))
    right = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return (right - rival).clamp_min(-5).mean()


def succeeded(logits: Tensor, labels: Tensor, target: int | None) -> Tensor:
    """bool (n,): the target's label, or any wrong one."""
    found = logits.argmax(1)
    return found == target if target is not None else found != labels


def _keep(path: Path, identity: str, step: int, patch: Tensor, optimizer: Optimizer, schedule: LRScheduler) -> None:
    state = {
        "identity": identity, "step": step, "patch": patch.detach(),
        "optimiser": optimizer.state_dict(), "schedule": schedule.state_dict(),
    }  # fmt: skip
    save_tensors(path, state)


def _resume(path: Path, identity: str, patch: Tensor, optimizer: Optimizer, schedule: LRScheduler) -> int:
    """The steps already done; the state is loaded into the arguments."""
    if not path.exists():
        return 0
    with fitting(path):
        state = load_tensors(path)
        kept = dict(foreign_json(state["identity"]))
    if kept != json.loads(identity):
        changed = ", ".join(key for key, value in json.loads(identity).items() if kept.get(key) != value)
        raise InputError(f"{path.parent} holds a patch made with other settings ({changed}): choose another folder")
    with fitting(path), torch.no_grad():
        patch.copy_(state["patch"])
        optimizer.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        step = int(state["step"])
    if step < 0 or not_finite({"patch": patch}) is not None:
        raise InputError(f"{path} is damaged: delete it to begin again")
    return step
