"""Defences to compare with, by name."""

from collections.abc import Iterable, Sequence

from edgeguard.dct.profile import GuardProfile, is_profile_file, resolve_profile
from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.base import Defense, Fixed, Image
from edgeguard.evaluate.defenses.codecs import Guard, bit_depth, median_blur, pillow_codec
from edgeguard.evaluate.defenses.detectors import DETECTORS
from edgeguard.evaluate.defenses.magnet import GRAY, trained_gray_reformer, trained_reformer
from edgeguard.evaluate.defenses.quilting import quilting_from
from edgeguard.evaluate.defenses.randomized import PixelDeflection, ResizePad, Shield
from edgeguard.evaluate.defenses.total_variation import TotalVariation
from edgeguard.train.lossy_codecs import lossy_codec

__all__ = ["DETECTORS", "NAMES", "NEED_LIBRARY", "Defense", "Guard", "Image", "defense_by_name", "guard_of"]

#: What `defense_by_name` understands (Q, N and R stand for numbers), and the detectors.
NAMES = (
    "none", "bits:N", "jpeg:Q", "jpeg2000:R", "webp:Q", "avif:Q", "gif", "palette:N", "palette:N+dither", "median:N",
    "tvm", "quilting", "shield", "resize-pad", "pixel-deflection", "magnet", *GRAY, "flat:N", "PROFILE", "PROFILE xN",
    *DETECTORS,
)  # fmt: skip
#: Defences that learn from clean pictures.
NEED_LIBRARY = ("quilting", "magnet", *GRAY, *DETECTORS)


def defense_by_name(name: str, library: Sequence[bytes] = ()) -> Defense:
    """A defence by name: `bits:5`, `jpeg:75`, `jpeg2000:20` (compression ratio), `webp:80`, `avif:50`, `gif`,
    `palette:16`, `palette:16+dither`, `median:3`, `tvm`, `quilting`, `magnet`, `shield`, `resize-pad`,
    `pixel-deflection`, `flat:20` (one step for all coefficients), `none`, a guard profile, or one with its steps
    multiplied (`fd-paper x2`).

    Args:
        name: the defence.
        library: encoded clean pictures, other than those that are attacked, for defences that learn from them.

    Raises:
        InputError: no such defence, or it needs a library and there is none.
    """
    kind, _, number = name.partition(":")
    simple: dict[str, Defense] = {
        "none": Fixed("none", lambda image: image),
        "tvm": TotalVariation(),
        "shield": Shield(),
        "resize-pad": ResizePad(),
        "pixel-deflection": PixelDeflection(),
    }
    if name in simple:
        return simple[name]
    if name in NEED_LIBRARY:
        if not library:
            raise InputError(f"{name} needs clean pictures to learn from: give more images than are attacked")
        if name in GRAY:
            return trained_gray_reformer(name, tuple(library))
        return quilting_from(tuple(library)) if name == "quilting" else trained_reformer(tuple(library))
    if (codec := lossy_codec(name)) is not None:
        return Fixed(name, codec)
    if kind in ("bits", "median", "webp", "jpeg2000"):
        value = _number(name, number)
        if kind == "bits":
            return Fixed(name, bit_depth(value))
        if kind == "median":
            return Fixed(name, median_blur(value))
        options = {"quality": value} if kind == "webp" else {"quality_mode": "rates", "quality_layers": [value]}
        return Fixed(name, pillow_codec(kind.upper(), **options))
    if kind == "flat":
        return Guard(flat_profile(_number(name, number)), name)
    text, factor = _profile_and_factor(name)
    profile = resolve_profile(text)
    if profile is None:
        raise InputError(f"there is no defense {name!r}; known: {', '.join(NAMES)}")
    return Guard(profile.multiplied(_number(name, factor)) if factor else profile, name)


def flat_profile(step: int) -> GuardProfile:
    """One step for all 64 coefficients of red, green and blue: Feature Distillation before its table is refined.

    Raises:
        InputError: the step is beyond 255.
    """
    if step > 255:
        raise InputError(f"the defense 'flat:{step}' wants a step from 1 to 255")
    return GuardProfile(f"flat-{step}", "rgb", ((step,) * 64,))


def guard_of(defense: Defense) -> Guard | None:
    """The defence where it is our sanitiser."""
    return defense if isinstance(defense, Guard) else None


def profile_files(names: Iterable[str]) -> tuple[str, ...]:
    """Paths of the profiles that defenses of these names read, each once.

    Example:
        >>> profile_files(["none", "fd", "mine.toml", "mine.toml x2", "my x/a.toml x2"])
        ('mine.toml', 'my x/a.toml')
    """
    profiles = (_profile_and_factor(name)[0] for name in names)
    return tuple(dict.fromkeys(profile for profile in profiles if is_profile_file(profile)))


def _profile_and_factor(name: str) -> tuple[str, str]:
    """`fd x2` in its parts; a file's own name may have " x" in it."""
    text, mark, factor = name.rpartition(" x")
    return (text, factor) if mark and factor.isdecimal() else (name, "")


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"the defense {name!r} wants a whole number from 1")
    return int(text)
