"""What is said of a model that does not know the clean object everywhere."""

from edgeguard.fieldtest.analysis.clean_views import CleanViews, everywhere_known, unknown_notes


def _seen(*right: int, name: str = "badge") -> list[CleanViews]:
    return [CleanViews(name, 100.0 * (place + 1), count, 8) for place, count in enumerate(right)]


def test_where_it_is_known_nothing_is_said() -> None:
    assert unknown_notes(_seen(8, 4)) == []


def test_where_it_is_not_known_there_is_a_way_on() -> None:
    (line,) = unknown_notes(_seen(1, 3, 6, 8))
    assert "right about the clean badge in 4 of 16 rendered views at 100, 200 mm" in line
    assert "plan --distances 300,400" in line


def test_a_plan_that_can_show_nothing() -> None:
    known, strange = _seen(8, 8), _seen(0, 3, name="sign")
    (line,) = unknown_notes([*known, *strange])
    assert line.startswith("THIS PLAN CAN SHOW NOTHING OF SIGN: the model is right about the clean sign in 3 of 16")


def test_distances_are_those_at_which_all_objects_are_known_well() -> None:
    assert everywhere_known([*_seen(8, 6, 8, 5), *_seen(8, 8, 6, 8, name="sign")]) == (100, 200, 300)
    assert everywhere_known(_seen(1, 4, 8, 4)) == (200, 300, 400), "one alone is few: those known at all"
    assert everywhere_known(_seen(1, 3)) == ()
