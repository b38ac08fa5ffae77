"""Pictures of attacks: the image, the changed one, the change made visible, and its spectrum."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeguard.dct.dct_basis import coefficients
from edgeguard.jpeg.blocks import pad_to_blocks, split_blocks
from edgeguard.reporting.html import data_uri

_SIDE = 224


@dataclass(frozen=True, eq=False)
class Example:
    """One attacked image: uint8 HxWx3 before and after."""

    attack: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


def amplified(example: Example) -> tuple[NDArray[np.uint8], float]:
    """The change around grey, and how many times larger it is shown."""
    delta = example.after.astype(np.float32) - example.before
    largest = float(np.abs(delta).max())
    gain = 100 / largest if largest else 1.0
    return (128 + gain * delta).clip(0, 255).astype(np.uint8), gain


def spectrum(example: Example) -> NDArray[np.float64]:
    """Mean absolute DCT coefficient of the change over all blocks and channels, 8x8."""
    return change_spectrum(example.before, example.after)


def change_spectrum(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean absolute DCT coefficient, levels, of what differs between two pictures (h, w, 3), 8x8."""
    first, second = (coefficients(split_blocks(pad_to_blocks(frame))) for frame in (before, after))
    return np.asarray(np.abs(second - first).reshape(8, 8, -1).mean(-1))


def spectrum_picture(bands: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The spectrum as 8x8 tiles: darker is more, against the largest."""
    shade = 255 * (1 - bands / (bands.max() or 1))
    tiles = np.kron(shade, np.ones((_SIDE // 8, _SIDE // 8)))
    return np.repeat(tiles[..., None], 3, axis=2).astype(np.uint8)


def png_uri(picture: NDArray[np.uint8]) -> str:
    """A PNG that stands inside the page, at most 224 pixels a side."""
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")
