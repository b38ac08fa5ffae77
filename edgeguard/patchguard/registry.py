"""The patch guards by name; each is imported only when it is used."""

from collections.abc import Callable

from edgeguard.patchguard.base import PatchGuard


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
