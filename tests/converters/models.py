"""Small models for the converter's tests: a residual net trained for a few seconds, and one that int8 cannot hold."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeguard.datasets.images import LabeledImage

SIDE = 32


class Residual(nn.Module):
    """Not a MobileNet: plain convolutions, batch norm, shortcuts, average pooling."""

    def __init__(self, classes: int = 4, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.a = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.down = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(self.down(torch.relu(x + self.a(x))))


class NotInt8(nn.Module):
    """A good classifier in float that int8 cannot hold: its scores ride on an offset that is taken off again."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x) + 2000.0) - 2000.0


def tinted_squares(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Four classes of 48x48 pictures: a bright bar, upright or flat, red or green, on noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(40, 120, (count, 48, 48, 3), dtype=np.uint8)
    labels = np.arange(count) % 4
    for image, label in zip(images, labels, strict=True):
        x, y = rng.integers(8, 28, 2)
        w, h = (6, 20) if label < 2 else (20, 6)
        image[y : y + h, x : x + w] = 60
        image[y : y + h, x : x + w, label % 2] = rng.integers(190, 256)
    return images, labels.astype(np.int64)


def train_residual(mean: float = 127.5, std: float = 127.5) -> Residual:
    """About 99 % after a few seconds on one core."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Residual()
    images, labels = tinted_squares(600, 1)
    x = torch.nn.functional.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), SIDE, mode="area")
    x, y = (x - mean) / std, torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(90):
        chosen = torch.arange(step * 64, step * 64 + 64) % len(x)
        loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def make_residual() -> Residual:
    """A factory for --arch."""
    return Residual()


def save_program(model: nn.Module, path: Path) -> Path:
    """As a .pt2."""
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


def pixels_of(image: LabeledImage) -> NDArray[np.uint8]:
    """The pixels of an image that was made from pixels."""
    content = image.content()
    assert isinstance(content, np.ndarray)
    return content
