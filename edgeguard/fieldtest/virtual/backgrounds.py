"""What stands behind an object in the virtual field: rendered clutter, or crops of the user's own photographs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import list_images
from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.cutout import picture_of
from edgeguard.fieldtest.sheets.sheet import Picture
from edgeguard.scene.views import background

_MOST = 200
_LONGEST_PX = 1280
_SMALLEST_CROP = 0.5


def read_backgrounds(folder: Path) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The photographs of a folder, at most 200 of them, and a line for each file that cannot be read.

    Raises:
        InputError: there is no such folder, or no picture in it can be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    pictures, left_out = [], []
    for path in list_images(folder)[:_MOST]:
        try:
            rgb = picture_of(path)
        except InputError as error:
            left_out.append(str(error))
            continue
        scale = min(_LONGEST_PX / max(rgb.shape[:2]), 1.0)
        size = max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1)
        pictures.append(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))
    if not pictures:
        raise InputError(f"{folder} holds no photograph that can be read: {left_out[0]}")
    return tuple(pictures), tuple(left_out)


def behind(
    photographs: Sequence[Picture], rng: np.random.Generator, width: int, height: int
) -> NDArray[np.float32]:  # fmt: skip
    """(height, width, 3) levels: a random crop of one of the photographs, mirrored or not; clutter without any."""
    if not photographs:
        return background(rng, width, height)
    picture = photographs[int(rng.integers(len(photographs)))]
    rows, columns = picture.shape[:2]
    fit = min(columns / width, rows / height)
    share = float(rng.uniform(_SMALLEST_CROP, 1.0)) * fit
    across, down = max(int(share * width), 1), max(int(share * height), 1)
    left, top = int(rng.integers(columns - across + 1)), int(rng.integers(rows - down + 1))
    crop = picture[top : top + down, left : left + across]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), (width, height)), np.float32)
