"""Pictures of any proportions are shown within bounds."""

import pytest

from edgeguard.reporting.shown import size_at_most, size_within


@pytest.mark.parametrize("width", [1, 2, 7, 640, 4000, 65500])
@pytest.mark.parametrize("height", [1, 3, 480, 3001, 65500])
def test_a_size_fills_its_box_in_one_direction_and_leaves_it_in_none(width: int, height: int) -> None:
    wide, high = size_within(width, height, (320, 960))
    assert 1 <= wide <= 320 and 1 <= high <= 960 and (wide == 320 or high == 960)
    if min(wide, high) > 20:  # below, whole pixels say little of proportions
        assert wide / high == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize("size", [(1, 1), (960, 1), (64, 48), (960, 960)])
def test_what_is_small_enough_stays_as_it_is(size: tuple[int, int]) -> None:
    assert size_at_most(*size, 960) == size
