"""Moves of whole levels where no quantizer of blocks stands in front: each 8x8 block to the gradient's sign, or not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.jpeg.blocks import BLOCK


class SignRun:
    """What each value of some images is changed by now, and the gradient, averaged over turns.

    Each turn moves the share of blocks that gain most from going to the sign of the gradient with all of the budget.

    Args:
        images: float32 (n, 3, h, w), whole levels.
        eps_8bit: whole levels.
        generator: of the signs that it begins with.
        randomly: begin with random signs; else with the images themselves.
    """

    def __init__(self, images: Tensor, eps_8bit: int, generator: torch.Generator, *, randomly: bool) -> None:
        self.images, self.generator = images, generator
        self.low = torch.maximum(-images, torch.tensor(-float(eps_8bit)))
        self.high = torch.minimum(255 - images, torch.tensor(float(eps_8bit)))
        self.change = torch.zeros_like(images)
        self.gradient: Tensor | None = None
        if randomly:
            self.kick(1.0)

    def kicked(self, share: float) -> "SignRun":
        """A run that goes on from here with a share (0..1) of its blocks at random signs, without a gradient."""
        other = object.__new__(SignRun)
        other.images, other.generator, other.low, other.high = self.images, self.generator, self.low, self.high
        other.change, other.gradient = self.change.clone(), None
        other.kick(share)
        return other

    def kick(self, share: float) -> None:
        """Give a share of the blocks random signs."""
        signs = torch.rand(self.images.shape, generator=self.generator) < 0.5
        height, width = self.images.shape[2:]
        blocks = (len(self.images), 1, -(-height // BLOCK), -(-width // BLOCK))
        chosen = _spread((torch.rand(blocks, generator=self.generator) < share).float(), height, width) > 0
        self.change = torch.where(chosen, torch.where(signs, self.high, self.low), self.change)

    def levels(self) -> Tensor:
        """float32 (n, 3, h, w): the images as they are changed now."""
        return self.images + self.change

    def step(self, gradient: Tensor, *, share: float, momentum: float) -> None:
        """Move the blocks that gain most.

        Args:
            gradient: of the loss by the levels, float32 (n, 3, h, w).
            share: of the blocks of each image that move, 0..1.
            momentum: weight of the gradients before, 0..1.
        """
        slope = gradient / gradient.abs().mean().clamp_min(1e-30)
        self.gradient = slope if self.gradient is None else momentum * self.gradient + slope
        wanted = torch.where(self.gradient > 0, self.high, self.low)
        gain = ((wanted - self.change) * self.gradient).sum(1, keepdim=True)
        height, width = gain.shape[2:]
        by_block = F.avg_pool2d(F.pad(gain, (0, -width % BLOCK, 0, -height % BLOCK)), BLOCK)
        count = max(int(share * by_block[0].numel()), 1)
        least = by_block.flatten(1).topk(count, dim=1).values[:, -1].clamp_min(1e-30)
        chosen = _spread((by_block >= least[:, None, None, None]).float(), height, width) > 0
        self.change = torch.where(chosen, wanted, self.change)


def _spread(blocks: Tensor, height: int, width: int) -> Tensor:
    """(n, 1, h/8, w/8) to (n, 1, h, w)."""
    return blocks.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[:, :, :height, :width]
