"""`(pixel - mean) / std`, in 0..255 units, and the presets of it that the field uses."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]

#: Mean and std in 0..255 units.
PRESETS: dict[str, tuple[Triple, Triple]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

#: What each preset makes of a pixel, for people.
PRESET_MEANINGS = {
    "imagenet": "0..1, then ImageNet's mean and std: torchvision, most of timm",
    "tf": "-1..1: Keras MobileNets, many of Google's",
    "unit": "0..1: ToTensor() alone",
    "none": "0..255 as they are",
}


def explained_presets(names: Collection[str] = tuple(PRESET_MEANINGS)) -> str:
    """Presets, by default all of them, and what they mean, in one line."""
    return "; ".join(f"{name} = {meaning}" for name, meaning in PRESET_MEANINGS.items() if name in names)


@dataclass(frozen=True)
class Normalization:
    """`(pixel - mean) / std`, and how it was found: `preset`, `flags`, `file`, or a guess."""

    mean: Triple
    std: Triple
    origin: str
    guessed: bool = False

    @property
    def is_uniform(self) -> bool:
        """True when the three channels share mean and std: the input's scale and zero point then carry both."""
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels (..., 3), or any levels where it is uniform, to the values that the network was trained on."""
        channels = 1 if self.is_uniform else 3
        mean, std = np.array(self.mean[:channels], np.float32), np.array(self.std[:channels], np.float32)
        return ((pixels.astype(np.float32) - mean) / std).astype(np.float32)
