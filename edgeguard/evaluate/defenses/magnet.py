"""MagNet's autoencoder (Meng and Chen 2017), trained on clean pictures."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.evaluate.defenses.base import Image
from edgeguard.jpeg.decode import decode_rgb

_PATCH, _BATCH, _STEPS = 32, 32, 300


class Autoencoder(torch.nn.Module):
    """The paper's net for colour pictures: three 3x3 convolutions of 32, 32 and 3 channels, sigmoids between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 3, padding=1),
            torch.nn.Sigmoid(),
            torch.nn.Conv2d(32, 32, 3, padding=1),
            torch.nn.Sigmoid(),
            torch.nn.Conv2d(32, 3, 3, padding=1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) in 0..1 to the same, not clipped."""
        return self.layers(pixels)


@dataclass(frozen=True, eq=False)
class MagnetReformer:
    """MagNet's reformer: the picture as the autoencoder gives it back.

    Trained here for a few hundred steps on patches of the library with the paper's noise (.025); the paper trains 400
    epochs on the whole training set.

    Limits: fooled by attacks that differentiate through it, and by transfer (Carlini and Wagner 2017, "MagNet and
    'Efficient defenses against adversarial attacks' are not robust").
    """

    net: Autoencoder
    name: str = "magnet"
    randomized: bool = False

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        with torch.no_grad():
            out = self.net(torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None])[0]
        return (out.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


@lru_cache(maxsize=2)
def trained_reformer(library: tuple[bytes, ...]) -> MagnetReformer:
    """Train the autoencoder on encoded clean pictures, once for a process; the same pictures give the same net."""
    images = [decode_rgb(data) for data in library]
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = Autoencoder()
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(_STEPS):
            clean = torch.from_numpy(np.stack([_patch(images, rng) for _ in range(_BATCH)])).permute(0, 3, 1, 2)
            noisy = (clean + 0.025 * torch.randn(clean.shape)).clamp(0, 1)
            loss = F.mse_loss(net(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return MagnetReformer(net)


def _patch(images: list[Image], rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    image = images[rng.integers(len(images))]
    padded = np.pad(
        image, ((0, max(_PATCH - image.shape[0], 0)), (0, max(_PATCH - image.shape[1], 0)), (0, 0)), mode="edge"
    )
    top, left = (int(rng.integers(0, side - _PATCH + 1)) for side in padded.shape[:2])
    return (padded[top : top + _PATCH, left : left + _PATCH] / 255).astype(np.float32)
