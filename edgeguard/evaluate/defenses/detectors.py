"""Defences that refuse inputs instead of changing them: feature squeezing's detector and MagNet's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.evaluate.defenses.base import Image
from edgeguard.evaluate.defenses.codecs import bit_depth, median_blur
from edgeguard.evaluate.defenses.magnet import MagnetReformer

#: The deployed model's probabilities for a picture.
Classifier = Callable[[Image], NDArray[np.float32]]
FALSE_ALARMS = 0.05


@dataclass(frozen=True, eq=False)
class FeatureSqueezing:
    """Feature squeezing's detector (Xu et al. 2018): the largest L1 distance between the model's probabilities for the
    picture and for its squeezed versions (5 bits, median 3x3, non-local means 11-3-4: the paper's choice for ImageNet
    has a 2x2 median).

    Limits: an attack that keeps the squeezed versions' labels passes (He et al. 2017).
    """

    name: str = "feature-squeezing"

    def distance(self, classify: Classifier, image: Image) -> float:
        """Larger means more suspicious."""
        import cv2

        before = classify(image)
        squeezed = (
            bit_depth(5)(image),
            median_blur(3)(image),
            np.asarray(cv2.fastNlMeansDenoisingColored(image, None, 4, 4, 3, 11), np.uint8),
        )
        return max(float(np.abs(before - classify(version)).sum()) for version in squeezed)


@dataclass(frozen=True, eq=False)
class MagnetDetector:
    """MagNet's detectors (Meng and Chen 2017, section 4.1): reconstruction error, and the Jensen-Shannon divergence
    between the model's softened probabilities (T = 10) before and after the autoencoder; the larger of the two, each in
    units of its spread on clean pictures, which `scale` holds.

    Limits: those of `MagnetReformer`.
    """

    reformer: MagnetReformer
    scale: tuple[float, float] = (1.0, 1.0)
    name: str = "magnet-detector"

    def parts(self, classify: Classifier, image: Image) -> tuple[float, float]:
        """Mean absolute reconstruction error, and divergence."""
        again = self.reformer(image)
        error = float(np.abs(again.astype(np.float32) - image).mean())
        return error, _divergence(_softened(classify(image)), _softened(classify(again)))

    def distance(self, classify: Classifier, image: Image) -> float:
        """Larger means more suspicious."""
        error, divergence = self.parts(classify, image)
        return max(error / self.scale[0], divergence / self.scale[1])


Detector = FeatureSqueezing | MagnetDetector
DETECTORS = ("feature-squeezing", "magnet-detector")


def scaled(detector: MagnetDetector, classify: Classifier, clean: Sequence[Image]) -> MagnetDetector:
    """The detector with its two measures in units of their 95 % quantile on clean pictures."""
    parts = np.array([detector.parts(classify, image) for image in clean])
    error, divergence = np.quantile(parts, 1 - FALSE_ALARMS, axis=0)
    return MagnetDetector(detector.reformer, (float(error) or 1.0, float(divergence) or 1.0))


def threshold(detector: Detector, classify: Classifier, clean: Sequence[Image]) -> float:
    """The distance that one in twenty clean pictures exceeds."""
    return float(np.quantile([detector.distance(classify, image) for image in clean], 1 - FALSE_ALARMS))


def _softened(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    raised = np.maximum(probabilities.astype(np.float64), 1e-9) ** 0.1
    return np.asarray(raised / raised.sum())


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    middle = (p + q) / 2
    return float((p * np.log(p / middle)).sum() / 2 + (q * np.log(q / middle)).sum() / 2)
