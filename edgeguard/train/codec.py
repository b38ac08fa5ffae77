"""The codec in the training loop: images go through exactly what the device does, or through something drawn."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.preprocess.crop_resize import sanitize
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.lossy_codecs import lossy_codec

SHIELD_QUALITIES = (20, 40, 60, 80)


class TrainingCodec:
    """Draws a codec for each image of a batch and applies it.

    Args:
        name: as `CodecConfig.codec`.
        share: of the images that go through it.

    Example:
        >>> codec = TrainingCodec("jpeg:20..90")
        >>> codec(np.zeros((4, 32, 32, 3), np.uint8), np.random.default_rng(0)).shape
        (4, 32, 32, 3)
    """

    def __init__(self, name: str, share: float = 1.0) -> None:
        self._kind, self._share, self._lossy = codec_kind(name), share, lossy_codec(name)

    @property
    def profile(self) -> GuardProfile | None:
        """The one profile that all images go through; None where something is drawn."""
        return self._kind.profile if self._kind.kind == "profile" and self._share == 1 else None

    @property
    def is_drawn(self) -> bool:
        """True where different images go through different codecs."""
        fixed = self._lossy is not None and self._share == 1
        return self._kind.kind != "none" and self.profile is None and not fixed

    def __call__(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """uint8 (n, h, w, 3) to the same shape; the input is not changed."""
        if self._kind.kind == "none":
            return images
        out = images.copy()
        for row in np.flatnonzero(rng.random(len(images)) < self._share):
            out[row] = self._one(images[row], rng)
        return out

    def _one(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        kind = self._kind
        if self._lossy is not None:
            return self._lossy(image)
        if kind.kind == "shield":
            return local_quantization(image, SHIELD_QUALITIES, rng)
        if kind.kind == "qualities":
            return sanitize(image, _jpeg(int(rng.integers(int(kind.low), int(kind.high) + 1))))
        assert kind.profile is not None
        if kind.kind == "multipliers":
            return sanitize(image, kind.profile.multiplied(round(float(rng.uniform(kind.low, kind.high)), 1)))
        return sanitize(image, kind.profile)


def local_quantization(
    image: NDArray[np.uint8], qualities: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Stochastic local quantisation (Das et al. 2018, SHIELD): each 8x8 block from a JPEG of a drawn quality."""
    height, width = image.shape[:2]
    versions = np.stack([sanitize(image, _jpeg(quality)) for quality in qualities])
    drawn = rng.integers(0, len(qualities), (-(-height // 8), -(-width // 8)))
    chosen = np.kron(drawn, np.ones((8, 8), np.int64))[:height, :width]
    return np.take_along_axis(versions, chosen[None, :, :, None], axis=0)[0]


@lru_cache(maxsize=128)
def _jpeg(quality: int) -> GuardProfile:
    return GuardProfile.preset(f"jpeg:{quality}")
