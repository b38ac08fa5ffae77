"""What a patch guard is, and the guards by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Guarded:
    """What a patch guard made of an image.

    Attributes:
        image: what the model gets.
        suspect: bool (h, w), the pixels that were taken for a patch.
        alarm: the guard says that a patch is there; a result of this image should not be acted on.
    """

    image: Image
    suspect: NDArray[np.bool_]
    alarm: bool = False


class PatchGuard(Protocol):
    """A filter of the model's input, after crop and resize and before quantisation."""

    @property
    def name(self) -> str: ...

    def __call__(self, image: Image) -> Guarded:
        """uint8 (h, w, 3) RGB of the model's size."""
        ...


def patch_guard(name: str) -> PatchGuard:
    """A patch guard with its default parameters.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> patch_guard("lgs").name
        'lgs'
    """
    if name not in PATCH_GUARDS:
        raise ValueError(f"there is no patch guard {name!r}; known: {', '.join(PATCH_GUARDS)}")
    return PATCH_GUARDS[name]()


def _lgs() -> PatchGuard:
    from edgeguard.patchguard.gradient_smoothing import LocalGradientSmoothing

    return LocalGradientSmoothing()


def _entropy() -> PatchGuard:
    from edgeguard.patchguard.entropy import EntropyInpainting

    return EntropyInpainting()


def _chunks() -> PatchGuard:
    from edgeguard.patchguard.chunk_forest import ChunkForest

    return ChunkForest()


def _recompression() -> PatchGuard:
    from edgeguard.patchguard.recompression import RecompressionAlarm

    return RecompressionAlarm()


PATCH_GUARDS: dict[str, Callable[[], PatchGuard]] = {
    "lgs": _lgs,
    "entropy": _entropy,
    "chunks": _chunks,
    "recompression": _recompression,
}
