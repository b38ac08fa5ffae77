"""Controls belong to a patch of their size and place; others are said."""

from dataclasses import replace

from edgeguard.fieldtest.session.controls import control_notes, controls_of
from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet

PLACE, OTHER = Overlay((0.0, 8.0), 38.0), Overlay((0.0, 8.0), 27.0)
CLEAN = Sheet(1, "stop", "stop", "clean")
PLAIN = Sheet(2, "stop", "stop", "plain", overlay=PLACE)
NOISE = replace(PLAIN, number=3, arm="noise")
PATCH = Sheet(9, "stop", "stop", "patch", overlay=PLACE)


def test_controls_that_cover_the_same_are_taken_in_silence() -> None:
    assert controls_of(PATCH, [CLEAN, PLAIN, NOISE, PATCH]) == [PLAIN, NOISE]
    assert list(control_notes([CLEAN, PLAIN, NOISE, PATCH])) == []


def test_a_control_of_another_size_place_or_shape_is_said() -> None:
    for place in (OTHER, replace(PLACE, center_mm=(0.0, -20.0)), replace(PLACE, shape="round")):
        wrong = replace(PLAIN, overlay=place)
        (line,) = control_notes([CLEAN, wrong, NOISE, PATCH])
        assert (
            line.startswith("The plain control (sheet 2) covers")
            and "the patch of sheet 9 38 mm (square) at 0,8" in line
        )
        assert controls_of(PATCH, [CLEAN, wrong, NOISE, PATCH]) == [wrong, NOISE]


def test_each_of_two_patches_has_its_own_controls() -> None:
    small, plain = replace(PATCH, number=8, overlay=OTHER), replace(PLAIN, number=7, overlay=OTHER)
    sheets = [CLEAN, PLAIN, NOISE, PATCH, small, plain]
    assert controls_of(PATCH, sheets) == [PLAIN, NOISE] and controls_of(small, sheets) == [NOISE, plain]
    assert [line.split()[1] for line in control_notes(sheets)] == ["noise"]


def test_a_paper_that_hangs_elsewhere_is_said() -> None:
    window = Overlay((0.0, 8.0), 38.0)
    on = [replace(one, window=window) for one in (CLEAN, PLAIN, NOISE, PATCH)]
    assert list(control_notes(on)) == []
    (line,) = control_notes([replace(CLEAN, window=OTHER), *on[1:]])
    assert line.startswith("The paper of the clean sheet 1 hangs elsewhere")
