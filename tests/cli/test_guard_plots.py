"""What `guard` draws has bounds, whatever the proportions of the picture are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.cli.guard_plots import draw_certificate
from edgeguard.guard import GuardProfile, Sanitizer, certificate


@pytest.mark.parametrize(("height", "width"), [(20_000, 8), (8, 20_000), (3000, 1), (600, 8)])
def test_the_map_of_a_strip_is_no_larger_than_it_may_be(height: int, width: int) -> None:
    """8x65,500 pixels became more than 4 GB."""
    profile = GuardProfile.preset("proof-1")
    frame: NDArray[np.uint8] = np.full((height, width, 3), 90, np.uint8)
    proof = certificate(Sanitizer(profile)(frame, "first"), profile)
    assert proof is not None
    assert max(draw_certificate(frame, proof).shape) <= 20_064
