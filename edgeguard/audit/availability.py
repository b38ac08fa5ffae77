"""Checks 4: poison that keeps a net from learning: a shortcut in fine detail, and a gap that compression closes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.features import fit_linear, out_of_sample_scores, patch_features
from edgeguard.audit.findings import Finding, not_made
from edgeguard.audit.images import Sample
from edgeguard.dct.profile import GuardProfile
from edgeguard.preprocess.crop_resize import sanitize

_LEAST_OF_CLASS = 20
_COARSE = 8


def shortcut(sample: Sample, threshold: float) -> Finding:
    """Whether the finest detail tells the class better than the picture does (Yu et al., KDD 2022).

    A linear probe on what a 3x3 median takes away, against one on the picture at 8x8 pixels; accuracy over 5 folds.
    Real detail says little to a linear probe; a pattern that was put there for its class says everything.
    """
    fine = _accuracy(high_pass(sample.pixels), sample)
    coarse = _accuracy(low_pass(sample.pixels), sample)
    says = f"a linear probe is right on {fine:.0%} from fine detail alone and on {coarse:.0%} from the coarse picture"
    return Finding("shortcut", says, max(fine - coarse, 0.0), threshold)


def high_pass(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a 3x3 median takes away, (n, 3072), in levels."""
    medians = np.stack([cv2.medianBlur(np.ascontiguousarray(one), 3) for one in pixels])
    return (pixels.astype(np.float32) - medians).reshape(len(pixels), -1)


def low_pass(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The pictures at 8x8 pixels, (n, 192)."""
    small = [cv2.resize(one, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA) for one in pixels]
    return np.stack(small).astype(np.float32).reshape(len(pixels), -1)


def _accuracy(features: NDArray[np.float32], sample: Sample) -> float:
    scores = out_of_sample_scores(features, sample.targets, len(sample.labels))
    return float((scores.argmax(1) == sample.targets).mean())


def compression_gap(sample: Sample, trusted: Sample | None, threshold: float) -> Finding:
    """Whether a classifier learns the trusted images better from what jpeg:10 leaves of the data (Liu et al. 2023).

    On clean data compression costs accuracy. Where the data carry a fine pattern that is easier to learn than the
    pictures, it gains.

    Args:
        sample: the data.
        trusted: images that are known to be clean, at least 20 of each class, of the same class names.
        threshold: accuracy that jpeg:10 may gain.
    """
    if trusted is None:
        return not_made("compression-gap", "it needs clean images of the same classes: --trusted FOLDER")
    known = np.array([sample.labels.index(label) if label in sample.labels else -1 for label in trusted.labels])
    if (known < 0).any() or np.bincount(trusted.targets).min() < _LEAST_OF_CLASS:
        return not_made("compression-gap", f"--trusted needs {_LEAST_OF_CLASS} images of each class, by the same names")
    profile = GuardProfile.preset("jpeg:10")
    coded = np.stack([sanitize(one, profile) for one in sample.pixels])
    targets = known[trusted.targets]
    raw, behind = (_tested(pixels, sample, trusted.pixels, targets) for pixels in (sample.pixels, coded))
    says = (
        f"trained on the data as they are {raw:.0%} of {len(trusted)} trusted images are right, on what jpeg:10 leaves "
        f"of them {behind:.0%}"
    )
    return Finding("compression-gap", says, max(behind - raw, 0.0), threshold)


def _tested(pixels: NDArray[np.uint8], sample: Sample, test: NDArray[np.uint8], targets: NDArray[np.int64]) -> float:
    filters = patch_features(pixels)
    fitted = fit_linear(filters.features(pixels), sample.targets, len(sample.labels))
    return float((fitted.scores(filters.features(test)).argmax(1) == targets).mean())
