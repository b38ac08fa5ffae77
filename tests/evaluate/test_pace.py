"""What is said of minutes that are too few."""

import time

import pytest

from edgeguard.datasets.images import LabeledImage
from edgeguard.errors import InputError
from edgeguard.evaluate.forecast import Forecast, Part
from edgeguard.evaluate.pace import Pace
from edgeguard.evaluate.protocol import Protocol, load_protocol
from edgeguard.evaluate.reports.results import Cell


def _pace(plan: Protocol, seconds: float) -> Pace:
    ahead = Forecast((Part("pgd, none", seconds, None, False),), 1, 1)
    return Pace(plan, ahead, attacked=100, clean=100, began=time.monotonic(), said="")


def _images() -> list[LabeledImage]:
    return [LabeledImage(f"{number}.png", b"", 0) for number in range(100)]


def test_few_images_come_with_the_minutes_of_enough() -> None:
    pace = _pace(load_protocol("quick"), 100.0)
    pace.fitting(_images())
    assert pace.said.startswith("5 minutes: 2 of 100 images are attacked, drawn by the seed")
    assert "a figure of 2 is known within 81 points: for 30 images give --minutes 51" in pace.said


def test_nothing_more_is_said_where_there_are_enough() -> None:
    pace = _pace(load_protocol("quick"), 5.2)
    pace.fitting(_images())
    assert pace.said == "5 minutes: 54 of 100 images are attacked, drawn by the seed, the same for every row"


def test_no_image_at_all_names_the_time_of_enough() -> None:
    with pytest.raises(InputError, match="one image takes about 9 min, 30 about 4.2 h, with this protocol"):
        _pace(load_protocol("quick"), 500.0).fitting(_images())


def test_a_slow_first_row_says_little_of_the_time_that_is_left() -> None:
    ahead = Forecast((Part("clean, none", 0.001, None, True), Part("pgd, none", 1.0, None, False)), 1, 1)
    pace = Pace(load_protocol("quick"), ahead, attacked=60, clean=60, began=0.0, said="", _first=time.monotonic() - 5)
    clean = Cell("quick", "gray", "input", "input", "clean", None, "none", 0, 60, 60)
    assert 60 < pace.left(clean) < 130, "five seconds for work of .06 s are no reason to expect an hour"
