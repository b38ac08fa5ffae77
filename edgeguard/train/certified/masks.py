"""Masked training: ordinary networks learn to answer under two masks, so that double masking can prove their labels.

Random pairs are what PatchCleanser trains with (USENIX Security 2022); greedy ones pick for each image the masks that
lower the margin most, one after the other (Saha et al. 2023).
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.train.codec_network import logits

_FILL = 127  # what double masking fills with
_GREEDY_PER_AXIS = 3  # nine masks: each is tried on each image


def mask_sets(size: int, patch_px: int) -> tuple[MaskSet, MaskSet]:
    """The masks of random pairs, those of double masking itself; and fewer, larger ones for greedy pairs.

    Example:
        >>> [masks.side for masks in mask_sets(32, 5)]
        [9, 14]
    """
    return MaskSet(size, patch_px), MaskSet(size, patch_px, _GREEDY_PER_AXIS)


def doubly_masked(images: NDArray[np.uint8], masks: MaskSet, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image, (n, size, size, 3), under two masks of the set, drawn evenly."""
    out = images.copy()
    places = masks.places
    for image, chosen in zip(out, rng.integers(0, len(places), (len(out), 2)).tolist(), strict=True):
        for number in chosen:
            row, column = places[number]
            image[row : row + masks.side, column : column + masks.side] = _FILL
    return out


def greedily_masked(network: nn.Module, levels: Tensor, targets: Tensor, masks: MaskSet) -> Tensor:
    """Each image under the mask that lowers its margin most, and under the one that does beside that.

    Args:
        network: normalised pixels to logits.
        levels: float32 (n, 3, size, size), 0..255.
        targets: class indices (n,).
        masks: those that are tried.
    """
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for _ in range(2):
            losses = torch.stack(
                [F.cross_entropy(logits(network, _under(levels, masks, place), False), targets, reduction="none")
                 for place in masks.places]
            )  # fmt: skip
            worst = losses.argmax(0).tolist()
            levels = torch.cat(
                [_under(levels[i : i + 1], masks, masks.places[chosen]) for i, chosen in enumerate(worst)]
            )
    network.train(was_training)
    return levels


def _under(levels: Tensor, masks: MaskSet, place: tuple[int, int]) -> Tensor:
    row, column = place
    out = levels.clone()
    out[:, :, row : row + masks.side, column : column + masks.side] = _FILL
    return out
