"""Feature Distillation's table design (Liu et al., CVPR 2019, section 4.2): which bands get the fine step.

Bands whose coefficients vary most over benign images matter most to a network (equations 6 and 7): they form the
accuracy-sensitive band (AS) and get the smaller step; the rest is the malicious-defence band (MD).
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from math import isqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.color import Color
from edgeguard.dct.dct_basis import coefficients
from edgeguard.errors import ProfileError
from edgeguard.jpeg.blocks import BLOCK, pad_to_blocks, split_blocks
from edgeguard.jpeg.tables import Table, corner_table

_LARGEST_STRIP = 1 << 24  # pixels


def band_sigmas(images: Iterable[NDArray[np.uint8]], color: Color) -> NDArray[np.float64]:
    """Standard deviation of each of the 64 coefficients over all blocks, shape (components, 8, 8).

    `rgb` pools its three channels into one component; the `ycbcr*` colours give three (Y, Cb, Cr), `gray` one (Y).

    Raises:
        ProfileError: there is no image.
    """
    totals: NDArray[np.float64] | None = None
    for image in chain.from_iterable(map(_strips, images)):
        exact = coefficients(split_blocks(pad_to_blocks(_components(image, color))))
        values = exact.reshape(8, 8, -1, exact.shape[-1])
        if color == "rgb":
            values = values.reshape(8, 8, -1, 1)
        moments = np.stack([np.full((8, 8, values.shape[3]), values.shape[2]), values.sum(2), (values**2).sum(2)])
        totals = moments if totals is None else totals + moments
    if totals is None:
        raise ProfileError("no image to design a table from")
    count, total, squares = totals
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0)).transpose(2, 0, 1)


def _strips(image: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """A picture, or whole rows of blocks of a large one: its coefficients take 64 times its pixels."""
    rows = max(_LARGEST_STRIP // image.shape[1] // BLOCK, 1) * BLOCK
    return (image[top : top + rows] for top in range(0, len(image), rows))


def design_tables(
    images: Iterable[NDArray[np.uint8]],
    *,
    as_bands: int,
    as_step: int,
    md_step: int,
    color: Color,
    by: Literal["corner", "sigma"],
) -> tuple[Table, ...]:
    """Tables with `as_bands` bands at `as_step` and the rest at `md_step`: one, or three of a `ycbcr*` colour.

    `corner` takes the low square of bands (16 is the low 4x4) and looks at no image; `sigma` takes the bands of the
    largest standard deviation over `images`, for each component of a `ycbcr*` colour separately.

    Raises:
        ProfileError: steps outside 1..255, a band count outside 1..63, a corner that is no square, or no image.
    """
    if not 1 <= as_bands <= 63:
        raise ProfileError(f"the number of accuracy-sensitive bands must be 1..63, got {as_bands}")
    if by == "corner":
        corner = isqrt(as_bands)
        if corner**2 != as_bands:
            raise ProfileError(f"a corner of {as_bands} bands is no square: use 1, 4, 9, 16, 25, 36 or 49, or by sigma")
        return (corner_table(as_step, md_step, corner),)
    return tuple(_ranked_table(s, as_bands, as_step, md_step) for s in band_sigmas(images, color))


def _ranked_table(sigmas: NDArray[np.float64], as_bands: int, as_step: int, md_step: int) -> Table:
    order = np.argsort(-sigmas.ravel(), kind="stable")
    steps = np.full(64, md_step)
    steps[order[:as_bands]] = as_step
    return tuple(int(step) for step in steps)


def _components(image: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    if color == "rgb":
        return image
    from PIL import Image

    planes = np.asarray(Image.fromarray(image).convert("YCbCr"), dtype=np.uint8)
    return planes[:, :, :1] if color == "gray" else planes
