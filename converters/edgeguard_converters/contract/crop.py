"""Which part of a picture the model sees: what you, the file or its family say, else what labelled pictures tell."""

import math
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Crop
from edgeguard.statistics import paired_proportions
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.options import Options

_CENTER = 0.875  # of the short side: what ImageNet's networks are evaluated with
_MOST_IMAGES = 200
#: Who says a crop.
By = Literal["you", "file", "family", "labels", "nobody"]

UNKNOWN = (
    f"CROP UNKNOWN: the file does not say which part of a picture the model was trained on; the whole picture is taken "
    f"(--crop none). Networks in ImageNet's way want --crop center:{_CENTER:g}; labeled pictures (--eval) can tell"
)


@dataclass(frozen=True)
class CropChoice:
    """A crop, and who says it.

    Attributes:
        crop: of the contract's preprocessing.
        fraction: of the short side, where it is `center`; else 1.
        by: who says it; `nobody`: the whole picture, because nothing is said.
        origin: in words, empty where the user said it.
    """

    crop: Crop
    fraction: float
    by: By
    origin: str

    @property
    def text(self) -> str:
        """As `--crop` takes it, and who says it.

        Example:
            >>> CropChoice("center", 0.875, "family", "torchvision resnet18").text
            'center:0.875 (torchvision resnet18)'
        """
        return as_flag(self.crop, self.fraction) + (f" ({self.origin})" if self.origin else "")


def as_flag(crop: Crop, fraction: float) -> str:
    """What `--crop` would say."""
    return f"center:{fraction:g}" if crop == "center" else crop


def stated_crop(options: Options, facts: FileFacts) -> CropChoice:
    """What the flags say, else the file, else its family; the whole picture where nothing is said.

    Raises:
        InputError: the file says a crop that does not exist.
    """
    if options.crop is not None:
        return _choice(options.crop, options.crop_fraction, "you", "")
    if facts.crop is None and facts.crop_fraction is None:
        return CropChoice("none", 1.0, "nobody", "nothing said")
    crop, fraction = facts.crop or "center", facts.crop_fraction
    if crop not in get_args(Crop):
        raise InputError(f"the file says the crop {crop!r}, which is none of {', '.join(get_args(Crop))}: give --crop")
    if fraction is not None and not (math.isfinite(fraction) and 0 < fraction <= 1):
        raise InputError(f"the file says that {fraction:g} of a picture is in the crop: give --crop")
    by: By = "file" if facts.crop_by is None else "family"
    return _choice(cast(Crop, crop), fraction, by, facts.crop_by or "file")


def other_crop(stated: CropChoice) -> CropChoice | None:
    """What labelled pictures should be shown with as well: None where the crop is not a guess."""
    if stated.by == "nobody":
        return CropChoice("center", _CENTER, "labels", "by labels")
    if stated.by == "family" and stated.crop != "none":
        return CropChoice("none", 1.0, "labels", "by labels")
    return None


def with_crop(contract: Contract, choice: CropChoice) -> Contract:
    """The contract with another crop."""
    return replace(contract, preprocess=replace(contract.preprocess, crop=choice.crop, crop_fraction=choice.fraction))


def judged_images(n: int) -> NDArray[np.int64]:
    """Numbers of the labelled images that are looked at, of n."""
    return np.linspace(0, n - 1, min(n, _MOST_IMAGES)).astype(np.int64)


def chosen_by_labels(
    stated: CropChoice, right: NDArray[np.bool_], other: CropChoice, other_right: NDArray[np.bool_]
) -> tuple[CropChoice, str]:
    """The crop with more right answers; a family's stays unless chance does not explain the difference.

    Args:
        stated, other: the crops.
        right, other_right: whether the model is right on each of the same labelled images.

    Returns:
        The crop, and a line that says why; empty where the family's stays.
    """
    n = len(right)
    gain, low, high = paired_proportions(int((right & ~other_right).sum()), int((other_right & ~right).sum()), n)
    crops = [as_flag(choice.crop, choice.fraction) for choice in (stated, other)]
    shown = (
        f"{right.mean():.3f} with --crop {crops[0]}, {other_right.mean():.3f} with --crop {crops[1]} on {n} labeled "
        f"images ({100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}])"
    )
    if stated.by == "family":
        if low <= 0:
            return stated, ""
        return other, f"THE FAMILY'S CROP IS NOT THIS MODEL'S: top-1 {shown}; the latter is taken; check it"
    better = other if gain > 0 else replace(other, crop=stated.crop, fraction=stated.fraction)
    line = f"CROP BY ACCURACY: top-1 {shown}; {as_flag(better.crop, better.fraction)} is taken; check it, or say --crop"
    return better, line


def _choice(crop: Crop, fraction: float | None, by: By, origin: str) -> CropChoice:
    return CropChoice(crop, (fraction or _CENTER) if crop == "center" else 1.0, by, origin)
