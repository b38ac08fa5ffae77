"""White-box attacks on what is proven, and on what is not: patches whose gradient comes through the sum of votes.

The twin of the deployed file gives the gradient, the file itself judges. Where a label is proven, no patch may change
it: one that does is a violation. Where none is proven, the share that falls says how tight the proof is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.errors import InputError
from edgeguard.evaluate.rebuild.network import Network, rebuild
from edgeguard.model import Model

_FIRST_STEP = 64.0  # levels; steps shrink to 1 along a cosine


@dataclass(frozen=True)
class PatchAttack:
    """How hard a picture is attacked.

    Attributes:
        side: of the patch, pixels of the model's input.
        places: tried for each picture: half of them where the proven margin is smallest, the others drawn.
        steps: sign steps of each.
        restarts: random beginnings at each place.
        seed: of what is drawn.
    """

    side: int
    places: int = 16
    steps: int = 100
    restarts: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Attacked:
    """What came of it: pictures whose label is proven, how many of them fell (violations), and the same of others."""

    certified: int
    violations: int
    uncertified: int
    fallen: int


def attack_pictures(
    path: str,
    model: Model,
    pictures: NDArray[np.uint8],
    truths: NDArray[np.int64],
    attack: PatchAttack,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Attacked:
    """Attack pictures of the model's input that the file labels right.

    Args:
        path: of the .tflite.
        model: the same file, loaded.
        pictures: uint8 (n, h, w, 3), as they come out of the contract's guard, crop and resize.
        truths: (n,) right output indices.
        attack: how hard.
        progress: called with what, pictures done, pictures in all.

    Raises:
        InputError: the file proves nothing, or its graph cannot be rebuilt.
    """
    if model.votes is None:
        raise InputError(f"{path} has no map of votes: nothing is proven that could be attacked")
    network = rebuild(path, model)
    counts = {True: [0, 0], False: [0, 0]}
    for number, (picture, truth) in enumerate(zip(pictures, truths.tolist(), strict=True)):
        votes = model.votes.integers(model.run(model.input_path.quantize(picture)))
        certifier = model.votes.certifier
        if certifier.label(votes) == truth:
            proven = certifier.margin(votes, truth, attack.side) > 0
            fell = strongest_patch(network, model, picture, truth, attack) is not None
            counts[proven][0] += 1
            counts[proven][1] += fell
        progress("attacking", number + 1, len(pictures))
    return Attacked(*counts[True], *counts[False])


def strongest_patch(
    network: Network, model: Model, picture: NDArray[np.uint8], truth: int, attack: PatchAttack
) -> NDArray[np.uint8] | None:
    """A patched picture whose label the file changes, or None where no try found one."""
    assert model.votes is not None
    certifier = model.votes.certifier
    rng = np.random.default_rng([attack.seed, *picture.reshape(-1)[:64].tolist()])
    votes = model.votes.integers(model.run(model.input_path.quantize(picture)))
    corners = _corners(picture, votes, truth, attack, certifier.place_margins, rng)
    masks = torch.zeros(len(corners), 1, *picture.shape[:2])
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[0, row : row + attack.side, column : column + attack.side] = 1
    masks = masks.repeat_interleave(attack.restarts, 0)
    clean = to_levels(picture[None])
    start = torch.from_numpy(rng.uniform(0, 255, (len(masks), 3, *picture.shape[:2])).astype(np.float32))
    levels = torch.where(masks > 0, start, clean)
    best, lowest = levels.clone(), torch.full((len(masks),), float("inf"))
    for step in range(attack.steps + 1):
        levels = levels.detach().requires_grad_()
        lead = _lead(network, levels, truth, certifier.votes.classes)
        better = lead.detach() < lowest
        lowest = torch.where(better, lead.detach(), lowest)
        best = torch.where(better[:, None, None, None], levels.detach(), best)
        if step == attack.steps:
            break
        (gradient,) = torch.autograd.grad(lead.sum(), levels)
        size = 1 + (_FIRST_STEP - 1) * (1 + np.cos(np.pi * step / attack.steps)) / 2
        levels = torch.where(masks > 0, (levels.detach() - size * gradient.sign()).clamp(0, 255), clean)
    for patched in to_frames(best):
        integers = model.votes.integers(model.run(model.input_path.quantize(patched)))
        if certifier.label(integers) != truth:
            return np.asarray(patched)
    return None


def _lead(network: Network, levels: Tensor, truth: int, classes: int) -> Tensor:
    """(n,): the label's mean votes less those of the best other class; below 0 the label has changed."""
    votes = network.tensor(levels, network.graph.outputs[1]).reshape(len(levels), -1, classes).mean(1)
    others = votes.clone()
    others[:, truth] = -torch.inf
    return votes[:, truth] - others.amax(1)


def _corners(
    picture: NDArray[np.uint8],
    votes: NDArray[np.integer],
    truth: int,
    attack: PatchAttack,
    margins: Callable[[NDArray[np.integer], int, int], NDArray[np.int64]],
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """Places of the patch: those where least is left of the proof, then others."""
    worst = margins(votes, truth, attack.side)
    places = [(int(i) // worst.shape[1], int(i) % worst.shape[1]) for i in np.argsort(worst, axis=None, kind="stable")]
    count = min(attack.places, len(places))
    first = places[: -(-count // 2)]
    others = [places[k] for k in rng.permutation(np.arange(len(first), len(places)))[: count - len(first)]]
    return first + others
