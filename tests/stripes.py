"""A small dataset that can be learned in seconds: stripes of two directions, and blobs."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def picture(kind: str, rng: np.random.Generator, size: int = 32) -> NDArray[np.uint8]:
    y, x = np.mgrid[:size, :size]
    phase, period = rng.uniform(0, 6), rng.uniform(5, 9)
    wave = {"across": y, "along": x, "round": np.hypot(y - size / 2, x - size / 2)}[kind]
    levels = 128 + 90 * np.sin(2 * np.pi * wave / period + phase)
    noise = rng.normal(0, 12, (size, size, 3))
    return (levels[..., None] * rng.uniform(0.7, 1, 3) + noise).clip(0, 255).astype(np.uint8)


def write_classes(folder: Path, count: int, parts: tuple[str, ...] = ("train", "test"), seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for part in parts:
        for kind in ("across", "along", "round"):
            place = folder / part / kind
            place.mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(place / f"{number:03}.png"), picture(kind, rng))
    return folder
