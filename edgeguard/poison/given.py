"""A poison that somebody else made: the files of `[data] overlay` that differ from the clean ones of the same name."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from edgeguard.errors import InputError
from edgeguard.poison.make import Poison
from edgeguard.train.config import DataConfig
from edgeguard.train.data import Part, read_dataset


def given_poison(data: DataConfig, *, size: int, seed: int) -> Poison:
    """What an overlay changes about the training part.

    Args:
        data: the clean data, with the overlay.
        size: side of the pictures, pixels.
        seed: which images are kept for testing where the data have no test part.

    Raises:
        InputError: no overlay; it changes nothing, a test image, or which images are trained on.
    """
    if data.overlay is None:
        raise InputError('the poison "given" is a folder: name it in [data] overlay')
    clean = read_dataset(replace(data, overlay=None), size=size, seed=seed)
    laid = read_dataset(data, size=size, seed=seed)
    if _stems(clean.test) != _stems(laid.test) or not np.array_equal(_images(clean.test), _images(laid.test)):
        raise InputError(f"{data.overlay} changes test images: a poison is of training images only")
    if _stems(clean.train) != _stems(laid.train):
        raise InputError(
            f"with {data.overlay} other images are trained on: it may move none to another class, and its files have "
            "the suffixes of the clean ones where a limit or a holdout chooses among them"
        )
    before, after = _images(clean.train), _images(laid.train)
    rows = np.flatnonzero((before != after).any(axis=(1, 2, 3)))
    if not len(rows):
        raise InputError(f"{data.overlay} changes no training image")
    return Poison(rows, after[rows], laid.train.targets[rows], {})


def _stems(part: Part) -> list[str]:
    return [str(PurePosixPath(name).with_suffix("")) for name in part.names]


def _images(part: Part) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if not isinstance(part.images, np.ndarray):
        raise InputError('poison needs the images as pixels: keep = "pixels"')
    return part.images
