"""Checks 4: poison that keeps a net from learning: a shortcut in fine detail, and a gap that compression closes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.audit.features import fit_linear, out_of_sample_scores, patch_features
from edgeguard.audit.findings import Finding, not_made
from edgeguard.audit.images import Sample, track_numbers
from edgeguard.dct.profile import GuardProfile
from edgeguard.preprocess.crop_resize import sanitize

_LEAST_OF_CLASS = 20
_COARSE = 8
_WANTS_TRUSTED = f"it needs clean images by the same class names, {_LEAST_OF_CLASS} of each class: --trusted FOLDER"


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


def transfer_gap(sample: Sample, trusted: Sample | None, threshold: float) -> Finding:
    """Whether what a linear probe learns holds on these data and not on trusted ones.

    Both probes, on fine detail and on the coarse picture, are judged on images of the data that they have not seen and
    on the trusted images. A pattern that stands for a class in the data only makes the difference; tracks stay
    together, so that frames of one thing are not counted twice.
    """
    if (targets := _trusted_targets(sample, trusted)) is None or trusted is None:
        return not_made("transfer-gap", _WANTS_TRUSTED)
    gaps = {}
    for name, view in (("fine detail", high_pass), ("the coarse picture", low_pass)):
        features = view(sample.pixels)
        fitted = fit_linear(features, sample.targets, len(sample.labels))
        there = float((fitted.scores(view(trusted.pixels)).argmax(1) == targets).mean())
        gaps[name] = (_accuracy(features, sample), there)
    name, (here, there) = max(gaps.items(), key=lambda item: item[1][0] - item[1][1])
    says = (
        f"from {name} a linear probe is right on {here:.0%} of the data, unseen, and on {there:.0%} of trusted images"
    )
    return Finding("transfer-gap", says, max(here - there, 0.0), threshold)


def _trusted_targets(sample: Sample, trusted: Sample | None) -> NDArray[np.int64] | None:
    """The trusted images' classes as places in the data's labels; None where they are too few or others."""
    if trusted is None or not set(trusted.labels) <= set(sample.labels):
        return None
    if np.bincount(trusted.targets, minlength=len(trusted.labels)).min() < _LEAST_OF_CLASS:
        return None
    return np.array([sample.labels.index(label) for label in trusted.labels])[trusted.targets]


def _accuracy(features: NDArray[np.float32], sample: Sample) -> float:
    scores = out_of_sample_scores(features, sample.targets, len(sample.labels), tracks=track_numbers(sample))
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
    if (targets := _trusted_targets(sample, trusted)) is None or trusted is None:
        return not_made("compression-gap", _WANTS_TRUSTED)
    profile = GuardProfile.preset("jpeg:10")
    coded = np.stack([sanitize(one, profile) for one in sample.pixels])
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
