"""A small PGD on frames in transit (torch): Madry et al. 2018, L-infinity, on whole frames in 8-bit levels.

The adaptive variant knows the guard: it runs the real integer codec forward and passes the gradient straight through
(BPDA, Athalye et al. 2018), and it steps along the strongest DCT coefficients of the gradient, which a quantiser
cannot swallow a little at a time.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import DCT
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.jpeg.blocks import join_blocks, split_blocks
from edgeguard.model.contract import Contract

Frame = NDArray[np.uint8]
Float = NDArray[np.float64]
_KEPT_COEFFICIENTS = 6


def area_matrix(inputs: int, outputs: int) -> torch.Tensor:
    """The linear map of an area resize along one side, shape (outputs, inputs); inputs >= outputs."""
    scale = inputs / outputs
    left = torch.arange(outputs, dtype=torch.float64)[:, None] * scale
    cell = torch.arange(inputs, dtype=torch.float64)[None, :]
    overlap = torch.minimum(left + scale, cell + 1) - torch.maximum(left, cell)
    return (overlap.clamp(min=0) / scale).float()


class FramePath:
    """The differentiable path from a frame (float, HxWx3, levels) to logits: crop, area resize, normalise, network."""

    def __init__(self, module: torch.nn.Module, contract: Contract, height: int, width: int) -> None:
        spec, preprocess = contract.input, contract.preprocess
        scale = min(width / spec.width, height / spec.height) * preprocess.crop_fraction
        crop_width, crop_height = round(spec.width * scale), round(spec.height * scale)
        self._left, self._top = (width - crop_width) // 2, (height - crop_height) // 2
        self._rows, self._columns = area_matrix(crop_height, spec.height), area_matrix(crop_width, spec.width)
        self._mean, self._std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        self._module = module

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        """Logits of shape (classes,)."""
        height, width = self._rows.shape[1], self._columns.shape[1]
        crop = frame[self._top : self._top + height, self._left : self._left + width]
        small = torch.einsum("ai,ijc,bj->abc", self._rows, crop, self._columns)
        x = ((small - self._mean) / self._std).permute(2, 0, 1)[None]
        logits: torch.Tensor = self._module(x)[0]
        return logits


def pgd(
    path: FramePath,
    frame: Frame,
    label: int,
    eps_8bit: int,
    *,
    steps: int = 30,
    guard: Sanitizer | None = None,
    direction: Callable[[Float], Float] = np.sign,
) -> Frame:
    """Change `frame` by at most `eps_8bit` levels so that the path no longer answers `label`.

    With `guard` the forward pass goes through its codec and the gradient straight through. Returns whole levels.
    """
    start = frame.astype(np.float64)
    low, high = np.maximum(start - eps_8bit, 0), np.minimum(start + eps_8bit, 255)
    step_size = max(2.5 * eps_8bit / steps, 0.25)
    current, best, best_loss = start.copy(), frame, -np.inf
    for _ in range(steps):
        whole = np.rint(current).astype(np.uint8)
        seen = whole if guard is None else guard(whole)
        x = torch.from_numpy(seen.astype(np.float32)).requires_grad_()
        logits = path(x)
        loss = torch.logsumexp(torch.cat([logits[:label], logits[label + 1 :]]), 0) - logits[label]
        (gradient,) = torch.autograd.grad(loss, x)
        if (value := float(loss.detach())) > best_loss:
            best, best_loss = whole, value
        current = np.clip(current + step_size * direction(gradient.numpy().astype(np.float64)), low, high)
    return best


def dct_direction(gradient: Float) -> Float:
    """Per 8x8 block: the signs of the strongest DCT coefficients of the gradient, back in pixels, scaled to 1."""
    height, width = gradient.shape[:2]
    padded = np.pad(gradient, ((0, -height % 8), (0, -width % 8), (0, 0)))
    blocks = split_blocks(padded)  # type: ignore[arg-type]  # any dtype works
    coded = np.einsum("ui,ij...,vj->uv...", DCT, blocks, DCT, optimize=True)
    flat = np.abs(coded).reshape(64, *coded.shape[2:])
    threshold = np.sort(flat, axis=0)[-_KEPT_COEFFICIENTS]
    kept = np.where(np.abs(coded) >= threshold, np.sign(coded), 0.0)
    pixels = np.einsum("ui,uv...,vj->ij...", DCT, kept, DCT, optimize=True)
    largest = np.abs(pixels).max(axis=(0, 1), keepdims=True)
    scaled = np.divide(pixels, largest, out=np.zeros_like(pixels), where=largest > 0)
    return np.asarray(join_blocks(scaled)[:height, :width], np.float64)
