"""MagNet's autoencoders (Meng and Chen 2017), trained on clean pictures: one for colors, two for gray digits."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.base import Image

_PATCH, _BATCH, _STEPS = 32, 32, 300
#: The paper's noise on digits, and how many steps of Adam they get here.
_GRAY_NOISE, _GRAY_STEPS = 0.1, 1500
#: Names of the two nets for digits.
GRAY = ("magnet-gray-1", "magnet-gray-2")


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

    net: torch.nn.Module
    name: str = "magnet"
    randomized: bool = False

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        with torch.no_grad():
            out = self.net(torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None])[0]
        return (out.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    def differentiable(self, levels: Tensor) -> Tensor:
        """See `Differentiable`."""
        return 255 * self.net(levels / 255).clamp(0, 1)


class GrayAutoencoder(torch.nn.Module):
    """The paper's nets for MNIST, convolutions of 3x3 with three filters and sigmoids (table II).

    `kind` 1, its reformer and first detector: convolution, average pooling by 2, two convolutions, enlarged by 2, two
    convolutions. `kind` 2, its second detector: three convolutions. The last one of each has one filter.
    """

    def __init__(self, kind: int) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> list[torch.nn.Module]:
            return [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.Sigmoid()]

        inner: list[torch.nn.Module] = [*convolution(3, 3)]
        if kind == 1:
            inner = [torch.nn.AvgPool2d(2), *convolution(3, 3), *convolution(3, 3), torch.nn.Upsample(scale_factor=2),
                     *convolution(3, 3)]  # fmt: skip
        self.layers = torch.nn.Sequential(*convolution(1, 3), *inner, *convolution(3, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) in 0..1, sides even, to the same: the gray picture in all three channels."""
        return self.layers(pixels.mean(1, keepdim=True)).expand(-1, 3, -1, -1)


@lru_cache(maxsize=2)
def trained_gray_reformer(name: str, library: tuple[bytes, ...]) -> MagnetReformer:
    """Train a net for digits on encoded clean pictures of one size; the same pictures give the same net.

    Args:
        name: one of `GRAY`.
        library: the pictures.

    Raises:
        InputError: pictures of several sizes, or with odd sides.
    """
    images = [decode_whole(data) for data in library]
    if len({image.shape for image in images}) != 1 or images[0].shape[0] % 2 or images[0].shape[1] % 2:
        raise InputError(f"{name} wants pictures of one size with even sides, as those of a data set of digits")
    clean = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        net = GrayAutoencoder(GRAY.index(name) + 1)
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(_GRAY_STEPS):
            batch = clean[torch.randint(len(clean), (_BATCH,))]
            noisy = (batch + _GRAY_NOISE * torch.randn(batch.shape)).clamp(0, 1)
            loss = F.mse_loss(net(noisy), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return MagnetReformer(net, name)


@lru_cache(maxsize=2)
def trained_reformer(library: tuple[bytes, ...]) -> MagnetReformer:
    """Train the autoencoder on encoded clean pictures, once for a process; the same pictures give the same net."""
    images = [decode_whole(data) for data in library]
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
