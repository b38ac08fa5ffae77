"""Columns beside accuracy: how sure the answers are, what is left of the pictures, the spectrum of the changes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeguard.evaluate.engine.jobs import Sample, Score
from edgeguard.evaluate.engine.store import AdversarialImages
from edgeguard.evaluate.engine.targets import Target
from edgeguard.evaluate.reports.pictures import change_spectrum
from edgeguard.evaluate.reports.results import Cell

_EQUAL_DB = 99.0  # what the infinite PSNR of equal pictures counts as


def with_fidelity(cell: Cell, scores: Sequence[Score]) -> Cell:
    """The cell with the means over images, where they were measured."""
    found = [one for score in scores for one in score.fidelity][: cell.n]
    if not found:
        return cell
    return replace(
        cell,
        confidence=round(float(np.mean([one.confidence for one in found])), 4),
        ms_ssim=round(float(np.mean([one.ms_ssim for one in found])), 4),
        psnr_db=round(float(np.mean([min(one.psnr_db, _EQUAL_DB) for one in found])), 2),
    )


def mean_spectrum(target: Target, images: Sequence[Sample], made: Sequence[AdversarialImages]) -> tuple[float, ...]:
    """The mean over images of the change's 8x8 spectrum, row by row; see `Cell.spectrum`."""
    changed = [frame for batch in made for frame in batch.images][: len(images)]
    each = [change_spectrum(target.read(sample.path), frame) for frame, sample in zip(changed, images, strict=True)]
    return tuple(round(float(value), 3) for value in np.mean(each, axis=0).ravel())
