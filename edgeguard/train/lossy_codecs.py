"""Lossy codecs beside JPEG, through Pillow: GIF, palettes, AVIF."""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Image = NDArray[np.uint8]  #: HxWx3, RGB
_NAME = re.compile(r"gif|palette:(?P<colors>\d{1,4})(?P<dithered>\+dither)?|avif:(?P<quality>\d{1,4})")


def lossy_codec(name: str) -> Callable[[Image], Image] | None:
    """A picture through a codec and back; None where the name is none of these.

    `gif`: 256 colors by median cut, as Pillow writes a GIF; `palette:N`: N colors by median cut, `palette:N+dither`
    with Floyd and Steinberg's error diffusion; `avif:Q`: AVIF of quality Q.

    Raises:
        InputError: a number out of range, or a Pillow that cannot write AVIF.

    Example:
        >>> lossy_codec("gif")(np.zeros((8, 8, 3), np.uint8)).shape
        (8, 8, 3)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if match["quality"] is not None:
        quality = int(match["quality"])
        if quality > 100:
            raise InputError(f"{name}: the quality of AVIF goes from 0 to 100")
        _check_avif()
        return _Coded("AVIF", {"quality": quality, "max_threads": 1})
    if match["colors"] is None:
        return _Coded("GIF", {})
    colors = int(match["colors"])
    if not 2 <= colors <= 256:
        raise InputError(f"{name}: a palette has 2 to 256 colors")
    return _Palette(colors, match["dithered"] is not None)


class _Coded:
    """Through one of Pillow's file formats; a class, because workers get it sent."""

    def __init__(self, kind: str, options: dict[str, int]) -> None:
        self._kind, self._options = kind, options

    def __call__(self, image: Image) -> Image:
        from PIL import Image as Pillow

        buffer = io.BytesIO()
        picture = Pillow.fromarray(image)
        if self._kind == "GIF":
            picture = _median_cut(picture, 256)
        picture.save(buffer, self._kind, **self._options)
        return np.array(Pillow.open(buffer).convert("RGB"))


class _Palette:
    def __init__(self, colors: int, dithered: bool) -> None:
        self._colors, self._dithered = colors, dithered

    def __call__(self, image: Image) -> Image:
        from PIL import Image as Pillow

        picture = Pillow.fromarray(image)
        found = _median_cut(picture, self._colors)
        if self._dithered:
            found = picture.quantize(palette=found, dither=Pillow.Dither.FLOYDSTEINBERG)
        return np.array(found.convert("RGB"))


def _median_cut(picture: "Picture", colors: int) -> "Picture":
    from PIL import Image as Pillow

    return picture.quantize(colors, method=Pillow.Quantize.MEDIANCUT)


def _check_avif() -> None:
    from PIL import features

    if not features.check("avif"):
        raise InputError("this Pillow cannot write AVIF: pip install 'pillow>=11.3'")
