"""Codecs that an arm sends its images through, once each: guards, comparison codecs, drawn qualities."""

import re

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.registry import defense_by_name, profile_files
from edgeguard.train.codec import TrainingCodec

Images = NDArray[np.uint8]
_LUMA = (0.299, 0.587, 0.114)


def check_codec(name: str) -> None:
    """Refuse what `coded` does not know.

    Raises:
        InputError: no such codec.
    """
    coded(np.zeros((1, 16, 16, 3), np.uint8), name, 0)


def coded(images: Images, name: str, seed: int) -> Images:
    """Images (n, h, w, 3) through a codec: `gray`, `gif` (256 colors, dithered), what `evaluate` calls a defense
    (`jpeg:10`, `webp:10`, `bits:2`, `fd`, `fd x2`), or a drawn one (`jpeg:20..90`; one draw for each image).

    Raises:
        InputError: no such codec.

    Example:
        >>> coded(np.full((1, 16, 16, 3), 200, np.uint8), "bits:2", 0)[0, 0, 0, 0]
        170
    """
    if name == "gray":
        luma = np.rint(images @ np.array(_LUMA)).astype(np.uint8)
        return np.repeat(luma[..., None], 3, axis=3)
    if name == "gif":
        return np.stack([_gif(image) for image in images])
    if ".." in name:
        return TrainingCodec(name)(images, np.random.default_rng([seed, 16]))
    try:
        defense = defense_by_name(name)
    except InputError as error:
        raise InputError(f"there is no codec {name!r} ({error})") from error
    return np.stack([defense(image, seed) for image in images])


def codec_files(name: str) -> tuple[str, ...]:
    """Paths of the profiles that a codec reads.

    Example:
        >>> codec_files("mine.toml*0.5..2"), codec_files("jpeg:20..90")
        (('mine.toml',), ())
    """
    return profile_files([re.sub(r"\*[\d.]+\.\.[\d.]+$", "", name)])


def _gif(image: Images) -> Images:
    from PIL import Image as Pillow

    return np.asarray(Pillow.fromarray(image).quantize(256).convert("RGB"))
