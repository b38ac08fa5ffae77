"""Polygons, and who is inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.watch.presence import Presence
from edgeguard.watch.zones import checked_polygon, contains

L_SHAPE = ((0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.9, 0.5), (0.9, 0.9), (0.1, 0.9))


def test_a_zone_with_a_dent() -> None:
    assert checked_polygon(L_SHAPE) == L_SHAPE
    assert contains(L_SHAPE, 0.3, 0.3) and contains(L_SHAPE, 0.8, 0.8)
    assert not contains(L_SHAPE, 0.8, 0.3) and not contains(L_SHAPE, 0.05, 0.5)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (((0, 0), (1, 1), (1, 0), (0, 1)), "crosses itself"),
        (((0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)), "crosses itself"),  # a corner on another side
        (((0, 0), (1, 0), (1, 1.01)), "leaves the frame"),
        (((0, 0), (1, 0), (float("nan"), 1)), "leaves the frame"),
        (((0, 0), (1, 0)), "3 to 32"),
        (tuple((i / 40, i * i / 1600) for i in range(33)), "3 to 32"),
        (((0, 0), (1, 0), (0.5, 0)), "has no area"),
    ],
)
def test_what_is_no_zone(points: tuple[tuple[float, float], ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_polygon(points)


@given(st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), max_size=8))
def test_any_points_are_a_zone_or_refused(points: list[tuple[float, float]]) -> None:
    try:
        checked_polygon(tuple(points))
    except ValueError:
        return
    assert isinstance(contains(tuple(points), 0.5, 0.5), bool)


def test_a_box_that_trembles_on_the_edge_neither_comes_nor_goes() -> None:
    zone = Presence()
    for at in range(40):
        zone.update(at, {1: "cat"}, {1} if at % 2 else set())
    assert zone.to_dict(40) == {"in": {}, "out": {}, "stay_s": {}}


def test_who_comes_stays_goes_and_vanishes() -> None:
    zone = Presence()
    for at in range(10):
        zone.update(at, {1: "cat", 2: "dog"}, {1, 2} if 2 <= at < 8 else {2})
    assert zone.came == {"cat": 1, "dog": 1} and zone.went == {"cat": 1}
    assert zone.to_dict(10)["stay_s"] == {2: 10} and zone.stay_s(2, 10) == 10 and zone.stay_s(1, 10) == 0
    for at in range(10, 42):
        zone.update(at, {}, set())
    assert zone.went == {"cat": 1, "dog": 1} and zone.to_dict(42)["stay_s"] == {}
