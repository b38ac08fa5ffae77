"""Codecs and filters as defences: JPEG, JPEG 2000, WebP, bit depth, median blur."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.evaluate.defenses.base import Defense, Image
from edgeguard.preprocess.crop_resize import sanitize


@dataclass(frozen=True)
class Guard:
    """Our sanitiser with any profile, its steps multiplied (Feature Distillation's 1x, 2x, 3x of table 2)."""

    profile: GuardProfile
    name: str
    randomized: bool = False

    def __call__(self, image: Image, seed: int = 0, which: Pass = "only") -> Image:
        """See `Defense`. `which` pass it is matters where the profile has room."""
        return sanitize(image, self.profile, which)


def in_pass(defense: Defense, which: Pass, image: Image, seed: int) -> Image:
    """A defense as one of two passes. One that is no guard of ours does the same in both."""
    return defense(image, seed, which) if isinstance(defense, Guard) else defense(image, seed)


def bit_depth(bits: int) -> Any:
    """Fewer levels: round(x (2**bits - 1) / 255), spread over 0..255 again (Xu et al. 2018, section III-A).

    Limits: a step of 255 / (2**bits - 1) levels removes noise below half of it only where it does not cross a border.
    """

    def transform(image: Image) -> Image:
        steps = 2**bits - 1
        return np.round(np.round(image / 255 * steps) / steps * 255).astype(np.uint8)

    return transform


def pillow_codec(format_: str, **options: Any) -> Any:
    """A picture through one of Pillow's codecs and back."""
    from PIL import Image as Pillow

    def transform(image: Image) -> Image:
        buffer = io.BytesIO()
        Pillow.fromarray(image).save(buffer, format_, **options)
        return np.asarray(Pillow.open(buffer).convert("RGB"))

    return transform


def median_blur(size: int) -> Any:
    """The median of size x size pixels in each channel (Xu et al. 2018, section III-B).

    Limits: removes isolated pixels, not smooth perturbations; a straight-through attack passes it.
    """
    import cv2

    def transform(image: Image) -> Image:
        return np.asarray(cv2.medianBlur(image, size), np.uint8)

    return transform
