"""The finest table whose pictures are proven: the smallest slack that the images of a folder need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.dct.slack import smallest_steps
from edgeguard.errors import ProfileError
from edgeguard.guard.certificate import proof_of
from edgeguard.jpeg.blocks import BLOCK
from edgeguard.preprocess.crop_resize import sanitize

#: The room with which blocks hardly clip, for proofs at 1, 2, 3 and 4 levels.
DEFAULT_ROOM = {1: 16, 2: 32, 3: 40, 4: 48}
#: What is tried, in coefficient units; smaller slack gives finer steps and more blocks that have to be mended.
SLACKS = tuple(round(0.1 * tenths, 1) for tenths in range(8, 31))
_ENOUGH = 0.99


@dataclass(frozen=True)
class CertifiedDesign:
    """A table that comes from the proof, and what it proves of the images.

    Attributes:
        profile: with its room and proof levels.
        slack: what the rounding to whole levels may leave of each coefficient, in coefficient units.
        certified_share: of the images' blocks, 0..1.
        proven_share: of the images, 0..1: all blocks of a picture are certified.
    """

    profile: GuardProfile
    slack: float
    certified_share: float
    proven_share: float


def design_certified(
    images: Sequence[NDArray[np.uint8]], levels: int, room: int | None = None, color: Literal["rgb", "gray"] = "rgb"
) -> CertifiedDesign:
    """The smallest steps with which 99 % of the images are proven, or the coarsest that are tried.

    Args:
        images: uint8 HxWx3, like those that the camera sees; rows and columns beyond a multiple of 8 are left out.
        levels: of changes in transit, 1 to 4.
        room: see `GuardProfile`; by default enough that blocks hardly clip.
        color: of the profile.

    Raises:
        ProfileError: no image of at least 8x8 pixels, or levels or room out of range.
    """
    if levels not in DEFAULT_ROOM:
        raise ProfileError(f"a proof is for 1 to 4 levels, got {levels}")
    whole = [image[: image.shape[0] // BLOCK * BLOCK, : image.shape[1] // BLOCK * BLOCK] for image in images]
    whole = [image for image in whole if image.size]
    if not whole:
        raise ProfileError("no image of at least 8x8 pixels to design a table from")
    found: CertifiedDesign | None = None
    for slack in SLACKS:
        found = _measured(whole, levels, DEFAULT_ROOM[levels] if room is None else room, color, slack)
        if found.proven_share >= _ENOUGH:
            break
    assert found is not None
    return found


def _measured(
    images: Sequence[NDArray[np.uint8]], levels: int, room: int, color: Literal["rgb", "gray"], slack: float
) -> CertifiedDesign:
    table = smallest_steps(levels, slack)
    profile = GuardProfile(f"proof-{levels}-{slack:g}", color, (table,), room=room, proof_levels=levels)
    proofs = [proof_of(sanitize(image, profile, "first"), profile) for image in images]
    sizes = np.array([image.size for image in images], float)
    shares = np.array([proof.share_at[levels] for proof in proofs if proof is not None])
    proven = float(np.mean([proof is not None and proof.proven_at(levels) for proof in proofs]))
    return CertifiedDesign(profile, slack, float((shares * sizes).sum() / sizes.sum()), proven)
