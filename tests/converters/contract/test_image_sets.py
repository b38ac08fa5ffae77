"""Folders of any number of images: no more are taken than memory is given for."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeguard.datasets.images import LabeledImage
from edgeguard_converters.contract import image_sets
from edgeguard_converters.contract.image_sets import that_fit
from edgeguard_converters.notes import Notes
from edgeguard_converters.understand import choose_images
from edgeguard_converters.verify.gates import FEW_IMAGES


def test_a_hundred_thousand_images_are_chosen_evenly() -> None:
    images = [LabeledImage(f"{number}.jpg", b"") for number in range(100_000)]
    notes = Notes()
    kept = that_fit(images, "calibration images", (640, 640), notes)
    assert 3 * 640 * 640 * len(kept) <= 2 << 30 and len(kept) > 1700
    numbers = [int(image.name[:-4]) for image in kept]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    assert numbers[0] == 0 and numbers[-1] > 99_900 and steps == {57, 58}
    assert f"{len(kept)} of the 100000 calibration images are used" in notes.lines[0]


@pytest.mark.parametrize("count", [1, 100, 1747])
def test_what_fits_is_taken_as_it_is(count: int) -> None:
    images = [LabeledImage(f"{number}.jpg", b"") for number in range(count)]
    notes = Notes()
    assert that_fit(images, "images", (640, 640), notes) is images and not notes.lines


def test_some_are_taken_of_the_largest_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sets, "_MOST_BYTES", 1)
    images = [LabeledImage(f"{number}.jpg", b"") for number in range(500)]
    assert len(that_fit(images, "images", (4000, 4000), Notes())) == FEW_IMAGES


def test_a_size_that_is_given_counts_where_the_file_has_none() -> None:
    images = [LabeledImage(f"{number}.png", np.full((8, 8, 3), number, np.uint8)) for number in range(8)]
    work: Any = SimpleNamespace(
        source=SimpleNamespace(size=None, facts=SimpleNamespace(labels=None)), calibration=images, evaluation=None,
        training=None, options=SimpleNamespace(size=(8, 8), labels=None, background=None), notes=Notes(),
    )  # fmt: skip
    choose_images(work)
    assert work.chosen is not None and work.trainees is None
