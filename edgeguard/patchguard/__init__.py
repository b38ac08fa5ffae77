"""Patch guards: cheap filters on the model's input that look for a patch in the scene. numpy and OpenCV only."""

from edgeguard.patchguard.base import Guarded, PatchGuard
from edgeguard.patchguard.registry import PATCH_GUARDS, patch_guard

__all__ = ["PATCH_GUARDS", "Guarded", "PatchGuard", "patch_guard"]
