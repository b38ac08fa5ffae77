"""A codec's name, taken apart: which profile, or what is drawn for each image."""

import re
from dataclasses import dataclass
from typing import Literal

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.train.lossy_codecs import lossy_codec


@dataclass(frozen=True)
class CodecKind:
    """A codec's text, taken apart: what is drawn for each image.

    Attributes:
        kind: `none`, `profile`, `qualities`, `multipliers`, `shield`, `lossy` (one of `lossy_codecs`).
        profile: of `profile` and `multipliers`.
        low, high: bounds of what is drawn, both included.
    """

    kind: Literal["none", "profile", "qualities", "multipliers", "shield", "lossy"]
    profile: GuardProfile | None = None
    low: float = 0
    high: float = 0


def codec_kind(name: str) -> CodecKind:
    """What a name says: see `CodecConfig.codec`.

    Raises:
        InputError: bounds that are out of range.
        ProfileError: no such profile.

    Example:
        >>> codec_kind("jpeg:20..90").kind
        'qualities'
    """
    if name in ("none", "shield"):
        return CodecKind("none" if name == "none" else "shield")
    if lossy_codec(name) is not None:
        return CodecKind("lossy")
    if match := re.fullmatch(r"jpeg:(\d{1,3})\.\.(\d{1,3})", name):
        low, high = int(match[1]), int(match[2])
        if not 1 <= low <= high <= 100:
            raise InputError("qualities go from 1 to 100, the lower one first")
        return CodecKind("qualities", None, low, high)
    if match := re.fullmatch(r"(.+)\*([\d.]{1,6})\.\.([\d.]{1,6})", name):
        try:
            low_m, high_m = float(match[2]), float(match[3])
        except ValueError:
            raise InputError("step multipliers are numbers, like fd*0.5..2") from None
        if not 0.1 <= low_m <= high_m <= 8:
            raise InputError("step multipliers go from 0.1 to 8, the lower one first")
        return CodecKind("multipliers", _profile(match[1]), low_m, high_m)
    return CodecKind("profile", _profile(name))


def _profile(name: str) -> GuardProfile:
    return GuardProfile.load(name) if name.endswith(".toml") else GuardProfile.preset(name)
