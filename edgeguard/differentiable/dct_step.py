"""A gradient step that a quantiser cannot round away: few whole DCT coefficients instead of a sign for each pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.differentiable.surrogates import dct_matrix, from_blocks, to_blocks


def dct_direction(gradient: Tensor, bands: int) -> Tensor:
    """A step of largest size 1 that puts all of a block's budget into its `bands` largest coefficients.

    A sign step spreads over all 64 coefficients and stays below half a quantisation step in each, so that the guard
    rounds it away; concentrated on few coefficients the same budget crosses the threshold.

    Args:
        gradient: float32 (n, c, h, w), of any h and w; of the loss by the levels.
        bands: coefficients kept of each 8x8 block, 1..64.

    Returns:
        float32 (n, c, h, w), -1..1; a block without a gradient stays 0.

    Example:
        >>> dct_direction(torch.ones(1, 1, 8, 8), bands=1).unique()
        tensor([1.])
    """
    height, width = gradient.shape[2:]
    dct = dct_matrix(gradient.device)
    blocks = to_blocks(F.pad(gradient, (0, -width % 8, 0, -height % 8)))
    coefficients = (dct @ blocks @ dct.T).flatten(-2)
    largest = coefficients.abs().topk(bands, dim=-1).indices
    kept = torch.zeros_like(coefficients).scatter(-1, largest, 1.0) * coefficients.sign()
    moved = dct.T @ kept.unflatten(-1, (8, 8)) @ dct
    moved = moved / moved.abs().amax((-2, -1), keepdim=True).clamp_min(1e-9)
    return from_blocks(moved)[:, :, :height, :width]
