"""Total-variation minimisation (Guo et al. 2018, section 4.3)."""

from dataclasses import dataclass

import numpy as np
import torch

from edgeguard.evaluate.defenses.base import Image


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """Drop each pixel with probability `drop`, then find the image with little total variation that fits the others.

    Minimises ||mask (z - x)||^2 + weight TV_2(z) on pixels 0..1 (TV_2: Euclidean norms of row and column differences),
    with Adam. Parameters of the paper: drop .5, weight .03.

    Limits: differentiable in effect; BPDA with the identity backward breaks it (Athalye et al. 2018: 0 %).
    """

    drop: float = 0.5
    weight: float = 0.03
    steps: int = 200
    name: str = "tvm"
    randomized: bool = True

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        x = torch.from_numpy(image.astype(np.float32) / 255)
        generator = torch.Generator().manual_seed(seed)
        mask = (torch.rand(x.shape[:2], generator=generator) >= self.drop)[..., None].float()
        z = (x * mask).clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=0.05)
        with torch.enable_grad():
            for _ in range(self.steps):
                variation = z.diff(dim=0).square().sum(1).add(1e-8).sqrt().sum()
                variation = variation + z.diff(dim=1).square().sum(0).add(1e-8).sqrt().sum()
                loss = (mask * (z - x)).square().sum() + self.weight * variation
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return (z.detach().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
