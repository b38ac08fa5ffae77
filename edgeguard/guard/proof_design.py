"""The finest table whose pictures are proven: the smallest slack that the images of a folder need."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.dct.slack import smallest_steps
from edgeguard.errors import ProfileError
from edgeguard.guard.certificate import proof_of
from edgeguard.jpeg.blocks import BLOCK, split_blocks
from edgeguard.preprocess.crop_resize import sanitize

#: The room with which few blocks clip, for proofs at 1, 2, 3 and 4 levels; more makes each step coarser.
DEFAULT_ROOM = {1: 16, 2: 8, 3: 12, 4: 12}
#: What is tried, in coefficient units; less of it gives finer steps, and more blocks that lose contrast.
SLACKS = tuple(round(0.1 * tenths, 1) for tenths in range(8, 31))
_ENOUGH = 0.99
_MOST_LOWERED = 0.01


@dataclass(frozen=True)
class CertifiedDesign:
    """A table that comes from the proof, and what it proves of the images.

    Attributes:
        profile: with its room and proof levels.
        slack: what the rounding to whole levels may leave of each coefficient, in coefficient units.
        certified_share: of the images' blocks, 0..1.
        proven_share: of the images, 0..1: all blocks of a picture are certified.
        lowered_share: of the blocks, 0..1: those that lost contrast for it.
    """

    profile: GuardProfile
    slack: float
    certified_share: float
    proven_share: float
    lowered_share: float


def design_certified(
    images: Iterable[NDArray[np.uint8]],
    levels: int,
    room: int | None = None,
    color: Literal["rgb", "gray"] = "rgb",
) -> CertifiedDesign:
    """The smallest steps with which 99 % of the images are proven and at most 1 % of their blocks lose contrast for it.

    Where no steps will do, the coarsest that are tried.

    Args:
        images: uint8 HxWx3, like those that the camera sees; rows and columns beyond a multiple of 8 are left out. They
            are gone through again for each table that is tried, one at a time.
        levels: of changes in transit, 1 to 4.
        room: see `GuardProfile`; by default enough that blocks hardly clip.
        color: of the profile.

    Raises:
        ProfileError: no image of at least 8x8 pixels, or levels or room out of range.
    """
    if levels not in DEFAULT_ROOM:
        raise ProfileError(f"a proof is for 1 to 4 levels, got {levels}")
    found: CertifiedDesign | None = None
    for slack in SLACKS:
        found = _measured(images, levels, DEFAULT_ROOM[levels] if room is None else room, color, slack)
        if found.proven_share >= _ENOUGH and found.lowered_share <= _MOST_LOWERED:
            break
    assert found is not None
    return found


def _measured(
    images: Iterable[NDArray[np.uint8]], levels: int, room: int, color: Literal["rgb", "gray"], slack: float
) -> CertifiedDesign:
    table = smallest_steps(levels, slack)
    profile = GuardProfile(f"proof-{levels}-{slack:g}", color, (table,), room=room, proof_levels=levels)
    measured = []
    for image in images:
        whole = image[: image.shape[0] // BLOCK * BLOCK, : image.shape[1] // BLOCK * BLOCK]
        if whole.size:
            travelling = sanitize(whole, profile, "first")
            proof = proof_of(travelling, profile)
            share, proven = (0.0, False) if proof is None else (proof.share_at[levels], proof.proven_at(levels))
            measured.append((whole.size, share, proven, _lowered(whole, travelling, profile)))
    if not measured:
        raise ProfileError("no image of at least 8x8 pixels to design a table from")
    sizes, shares, all_proven, lowered = (np.array(values, float) for values in zip(*measured, strict=True))
    certified, lost = (float((values * sizes).sum() / sizes.sum()) for values in (shares, lowered))
    return CertifiedDesign(profile, slack, certified, float(all_proven.mean()), lost)


def _lowered(image: NDArray[np.uint8], travelling: NDArray[np.uint8], profile: GuardProfile) -> float:
    """The share of blocks of which pass 2 does not make what it makes of pass 1 with plain rounding."""
    plain = replace(profile, proof_levels=0)
    expected = sanitize(sanitize(image, plain, "first"), plain, "second")
    changed = split_blocks((sanitize(travelling, profile, "second") != expected).astype(np.uint8)).any(axis=(0, 1))
    return float(changed.mean())
