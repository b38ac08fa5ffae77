"""Far more pictures to calibrate than that needs."""

import numpy as np

from edgeguard.datasets.images import LabeledImage
from edgeguard_converters.contract.image_sets import split
from edgeguard_converters.notes import Notes


def _images(count: int, prefix: str) -> list[LabeledImage]:
    rng = np.random.default_rng(len(prefix))
    return [LabeledImage(f"{prefix}{k}", rng.integers(0, 256, (2, 2, 3), np.uint8)) for k in range(count)]


def test_thousands_are_said_to_be_more_than_enough() -> None:
    for count, is_said in ((1500, True), (300, False)):
        notes = Notes()
        split(_images(count, "calibrating"), _images(60, "judging"), notes)
        assert any(f"{count} calibration images: some hundred are enough" in line for line in notes.lines) is is_said
