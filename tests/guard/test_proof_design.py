import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import ProfileError
from edgeguard.guard import Sanitizer, proof_of
from edgeguard.guard.proof_design import design_certified


@pytest.mark.parametrize("levels", [1, 2])
def test_the_finest_table_that_proves_the_images(scenes: list[NDArray[np.uint8]], levels: int) -> None:
    images = [scene[:163, :101] for scene in scenes[:3]]  # what is beyond a multiple of 8 is left out
    found = design_certified(images, levels)
    assert found.proven_share == 1 == found.certified_share and found.profile.proof_levels == levels
    for image in images:
        proof = proof_of(Sanitizer(found.profile)(image[:160, :96], "first"), found.profile)
        assert proof is not None and proof.proven_at(levels)


def test_what_cannot_be_designed(scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ProfileError, match="1 to 4 levels, got 5"):
        design_certified([scene], 5)
    with pytest.raises(ProfileError, match="no image"):
        design_certified([scene[:7]], 1)
    with pytest.raises(ProfileError, match="room"):
        design_certified([scene], 1, room=65)


def test_the_coarsest_table_is_the_answer_where_blocks_lose_contrast() -> None:
    """Black and white noise clips in every block, whatever the table: it is proven, but not as it was."""
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (32, 32, 3))
    found = design_certified([noise], 1, room=4)
    assert found.proven_share == 1 and found.lowered_share > 0.5 and found.slack == 3
