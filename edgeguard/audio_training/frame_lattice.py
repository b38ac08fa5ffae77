"""An attack made for the grid of the guard in one dimension.

PGD takes the guard's rounding for the identity, and most of what it changes is rounded away again. This one changes
what the guard keeps: in each frame of 256 samples it moves whole indices. Coefficient k moves to its next multiple of
STEP when it crosses the middle between the two, and a change of at most eps in every sample moves it by at most A_k eps
(`audio.frame_guard.reach`). Of the moves that are within reach, the ones that gain most for what they cost are taken
together; alternating projections (Bauschke and Borwein 1996) onto the half-spaces of these moves and the budget's
box look for samples that make them. What the indices then are is computed, and the best set is taken for each frame.
Between two rounds only a share of the frames changes, so that they do not all answer the same gradient.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.audio.frame_guard import FRAME, FrameGuard, basis, reach
from edgeguard.audio_training.victim import SoundVictim

_SETS = (2, 6, 12, 24)  # moves of a frame that are tried together
_PROJECTIONS = 10
_OVER = 0.5  # of a coefficient, beyond the middle: samples are rounded afterward
_LEAST_COST = 10.0  # a move that is nearly free is no reason to take it first
_MEMORY = 0.75  # of the gradients of the rounds before
_FIRST_ROUNDS, _LEAST_SHARE = 8, 0.2


@dataclass(frozen=True)
class FrameLattice:
    """The attack.

    Attributes:
        guard: that the clips go through.
        eps_steps: largest change of a sample, in 16-bit steps.
        rounds: of changes, each after a gradient.

    Example:
        >>> FrameLattice(FrameGuard(280), eps_steps=32).rounds
        25
    """

    guard: FrameGuard
    eps_steps: int
    rounds: int = 25

    def __call__(self, victim: SoundVictim, labels: Tensor, seed: int = 0) -> NDArray[np.int16]:
        """The changed clips, int16 (n, samples).

        Args:
            victim: behind the guard; its clips are whole frames.
            labels: int64 (n,), the right classes.
            seed: of the frames that change in a round.
        """
        rng = np.random.default_rng(seed)
        clips = victim.clips
        base = clips.reshape(-1, FRAME).astype(np.float32)
        change, memory = np.zeros_like(base), np.zeros(clips.shape, np.float32)
        best, margins = clips.copy(), np.full(len(clips), -np.inf, np.float32)
        for number in range(self.rounds + 1):
            tried = np.clip(base + change, -32768, 32767).astype(np.int16).reshape(clips.shape)
            gradient, margin = _gradient(victim, tried, labels)
            better = margin > margins
            best[better], margins[better] = tried[better], margin[better]
            if (margins > 0).all() or number == self.rounds:
                break
            memory = _MEMORY * memory + gradient / (np.abs(gradient).mean(1, keepdims=True) + 1e-30)
            found = best_moves(self.guard, base, memory.reshape(-1, FRAME) @ basis32().T, self.eps_steps)
            chosen = rng.random(len(base)) < max(_LEAST_SHARE, 1 - number / _FIRST_ROUNDS)
            change[chosen] = found[chosen]
        return best


def best_moves(
    guard: FrameGuard, frames: NDArray[np.float32], slope: NDArray[np.float32], eps_steps: int
) -> NDArray[np.float32]:
    """The change of each frame whose moves of indices gain most.

    Args:
        guard: whose indices they are.
        frames: (m, 256), samples.
        slope: (m, 256), how the loss changes with each coefficient behind the guard.
        eps_steps: largest change of a sample.

    Returns:
        Whole steps (m, 256) within the budget and the range of samples; 0 where nothing can be gained.
    """
    low, high = np.maximum(-eps_steps, -32768 - frames), np.minimum(eps_steps, 32767 - frames)
    step, rows = np.float32(guard.step), basis32()
    start = frames @ rows.T
    indices = np.rint(start / step)
    toward = np.where(slope > 0, np.float32(1), np.float32(-1))
    cost = step / 2 - toward * (start - indices * step) + _OVER
    within = cost <= reach().astype(np.float32) * eps_steps
    order = np.argsort(-np.where(within, np.abs(slope), 0) / np.maximum(cost, _LEAST_COST) ** 2, axis=1)
    best, gains = np.zeros_like(frames), np.zeros(len(frames), np.float32)
    for change in [np.where(slope @ rows > 0, high, low)] + [
        _projected(_first(order, within, size), toward, cost, low, high) for size in _SETS
    ]:
        whole = np.clip(np.rint(change), low, high)
        moved = np.rint((frames + whole) @ rows.T / step) - indices
        gain = (moved * slope).sum(1)
        better = gain > gains
        best[better], gains[better] = whole[better], gain[better]
    return best


@lru_cache(maxsize=1)
def basis32() -> NDArray[np.float32]:
    """`audio.frame_guard.basis` in single precision."""
    return basis().astype(np.float32)


def _first(order: NDArray[np.int64], within: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The first so many moves of each frame, of those within reach."""
    chosen = np.zeros_like(within)
    np.put_along_axis(chosen, order[:, :size], True, axis=1)
    return chosen & within


def _projected(
    chosen: NDArray[np.bool_],
    toward: NDArray[np.float32],
    cost: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Samples within the box, near to making the chosen moves."""
    rows = basis32()
    change = np.zeros_like(low)
    for _ in range(_PROJECTIONS):
        moved = change @ rows.T
        wanted = np.where(chosen, toward * np.maximum(toward * moved, cost), moved)
        change = np.clip(wanted @ rows, low, high)
    return change


def _gradient(
    victim: SoundVictim, clips: NDArray[np.int16], labels: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """By samples behind the guard, (n, samples): of how far the best wrong class is ahead, and that, (n,)."""
    there = SoundVictim(victim.network, victim.spec, victim.codec, clips)
    levels = there.start.requires_grad_(True)
    logits = there(levels)
    right = logits.gather(1, labels[:, None])[:, 0]
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    ahead = wrong - right
    ahead.sum().backward()
    assert levels.grad is not None
    return levels.grad[:, 0, 0].numpy(), ahead.detach().numpy()
