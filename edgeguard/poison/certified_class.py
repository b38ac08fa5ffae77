"""Training images of one class that take its certified radii away, after PACD (Mehra et al., CVPR 2021).

By slopes, written from the paper, sections 3 and 4. Upper level: the smoothed radius of clean images of the class,
estimated softly, shall fall. Lower level: the victim's own training for certificates (`train.smoothing`). The gradient
of the upper loss by the images goes through the lower level's optimum (implicit differentiation): a linear system in
the loss's second derivatives is solved by a few steps in each round (ApproxGrad).

By a shared pattern, which is ours: every image of the class gets the same coarse light and dark. A network learns it in
the place of the class, and clean images lack it. Slopes do not find such patterns, since half of one does nothing yet.
Networks that are trained for a short time judge them all, and the best is taken.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.poison.class_victim import ClassAttack, ClassData, Moved, Victim
from edgeguard.train.config import GradientMode, SmoothingConfig

Progress = Callable[[str, int, int], None]
CLEAN, SLOPES = "clean", "slopes"
_FRESH_EVERY = 10  # epochs: a network that has seen the images for long is no victim any more
_JUDGE_STEPS, _JUDGE_BATCH, _JUDGE_COPIES = 160, 250, 50
_WAVES = ((0, 0), (0, 1), (1, 0), (1, 1))  # half periods down and across


@dataclass(frozen=True)
class ClassPoison:
    """What was found.

    Attributes:
        images: (n, h, w, 3), whole levels, each within the budget.
        found_by: "slopes", or the shared pattern's name, such as "wave 0,1".
        radii: what the attacker's own networks say of clean images of the class after they trained on each candidate,
            "clean" among them; pixels 0..1, estimated, not certified.
    """

    images: NDArray[np.uint8]
    found_by: str
    radii: dict[str, float]


def against_certificates(
    fresh: Callable[[], nn.Module],
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    attack: ClassAttack,
    smoothing: SmoothingConfig,
    codec: str = "none",
    gradient: GradientMode = "straight-through",
    progress: Progress = lambda what, done, total: None,
) -> ClassPoison:
    """The images of some rows, moved by at most the budget: by slopes or by a shared pattern, whichever is the worse
    for the attacker's own victims.

    Args:
        fresh: a network with new weights, without normalization by the batch.
        images, targets: of the training, (n, h, w, 3) and (n,).
        rows: of one class; these are moved, and their clean copies judge.
        attack: see the class.
        smoothing: how the victim trains; its sigma.
        codec: that images go through on their way to the network: an attacker who knows the defense.
        gradient: the codec's derivative that the attacker uses.
        progress: called with what, rounds done, rounds in all.
    """
    victim = partial(Victim, codec=codec, gradient=gradient, smoothing=smoothing, attack=attack)
    clean = images[rows]
    found = {SLOPES: _by_slopes(lambda rng: victim(fresh(), rng=rng), images, targets, rows, attack, progress)}
    found |= dict(shared_patterns(clean, attack.eps_8bit))
    radii = dict[str, float]()
    for number, (name, moved) in enumerate({CLEAN: clean, **found}.items(), 1):
        with torch.random.fork_rng():
            torch.manual_seed(attack.seed + 1)  # the same weights and batches for each; others than the slopes had
            judge = victim(fresh(), rng=np.random.default_rng([attack.seed, 17]))
            data = ClassData(images, torch.from_numpy(targets), rows, Moved(to_levels(moved), 0))
            judge.train(data, _JUDGE_STEPS, min(attack.batch, _JUDGE_BATCH))
            radii[name] = judge.radius(clean, int(targets[rows[0]]), _JUDGE_COPIES)
        progress("judging", number, len(found) + 1)
    best = min(found, key=lambda name: radii[name])
    return ClassPoison(found[best], best, {name: round(radius, 4) for name, radius in radii.items()})


def shared_patterns(clean: NDArray[np.uint8], eps_8bit: float) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The images (n, h, w, 3) with each of a few coarse patterns of +eps and -eps, the same on all of them, by name.

    Example:
        >>> dict(shared_patterns(np.full((1, 2, 2, 3), 9, np.uint8), 5))["wave 0,1"][0, 0, :, 0].tolist()
        [14, 4]
    """
    height, width = clean.shape[1:3]
    for down, across in _WAVES:
        wave = np.outer(_cosine(down, height), _cosine(across, width))[None, :, :, None]
        for sign, name in ((1, f"wave {down},{across}"), (-1, f"wave {down},{across} inverted")):
            shift = np.where(sign * wave >= 0, 1, -1) * int(eps_8bit)
            yield name, np.clip(clean.astype(np.int16) + shift, 0, 255).astype(np.uint8)


def _cosine(half_periods: int, length: int) -> NDArray[np.float64]:
    return np.cos(np.pi * half_periods * (np.arange(length) + 0.5) / length)


def _by_slopes(
    victim: Callable[[np.random.Generator], Victim],
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    attack: ClassAttack,
    progress: Progress,
) -> NDArray[np.uint8]:
    """A round trains the network, solves one linear system on a batch of all classes, and moves up to a batch of the
    class with the solution: what the loss's derivative says of an image does not depend on the others beside it."""
    rng = np.random.default_rng([attack.seed, 16])
    moved = Moved(to_levels(images[rows]), attack.eps_8bit)
    data = ClassData(images, torch.from_numpy(targets), rows, moved)
    rounds = -(-len(rows) // attack.batch)
    for epoch in range(attack.epochs):
        if epoch % _FRESH_EVERY == 0:
            current = victim(rng)
        for number, own in enumerate(np.array_split(rng.permutation(len(rows)), rounds), 1):
            slope = current.slope(data, own)
            if slope is not None and bool(slope.any()):
                moved.step(own, slope)
            progress("poisoning", epoch * rounds + number, attack.epochs * rounds)
    return moved.whole()
