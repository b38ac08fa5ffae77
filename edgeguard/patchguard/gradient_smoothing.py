"""Local gradient smoothing (Naseer, Khan and Porikli 2019, arXiv 1807.01216)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.patchguard.base import Guarded, Image


@dataclass(frozen=True, kw_only=True)
class LocalGradientSmoothing:
    """Damp windows whose mean gradient is high: x * (1 - clip(smoothing * g, 0, 1)), the paper's equation 5.

    Attributes:
        window, overlap: of the windows, pixels; the paper's 15 and 5.
        threshold: mean of the normalised gradient above which a window is damped; the paper's 0.1.
        smoothing: the paper's lambda, 2.3.

    Limits: text, foliage and fine texture are damped as well and cost clean accuracy; gradients are scaled to the
    image's own largest, so that in a picture without any edge noise is damped; a patch that is optimised through it
    (smooth, large shapes) is not.
    """

    window: int = 15
    overlap: int = 5
    threshold: float = 0.1
    smoothing: float = 2.3
    name: str = "lgs"

    def __call__(self, image: Image) -> Guarded:
        """See `PatchGuard`."""
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        across = cv2.filter2D(gray, -1, np.array([[0, -1, 1]], np.float32))
        down = cv2.filter2D(gray, -1, np.array([[0], [-1], [1]], np.float32))
        gradient = cv2.magnitude(across, down)
        low, high = float(gradient.min()), float(gradient.max())
        gradient = (gradient - low) / max(high - low, 1e-6)
        suspect = self._windows(gradient)
        damped = np.clip(1 - self.smoothing * gradient, 0, 1)
        factor = np.where(suspect, damped, np.float32(1))
        out = cv2.multiply(image.astype(np.float32), cv2.merge([factor] * 3))
        return Guarded(np.asarray(np.rint(out), np.uint8), suspect)

    def _windows(self, gradient: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The pixels of all windows whose mean is above the threshold."""
        step = self.window - self.overlap
        means = cv2.boxFilter(gradient, -1, (self.window, self.window), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
        starts = np.zeros(gradient.shape, np.uint8)
        starts[::step, ::step] = means[::step, ::step] > self.threshold
        kernel = np.ones((self.window, self.window), np.uint8)
        covered = cv2.dilate(starts, kernel, anchor=(self.window - 1, self.window - 1), borderValue=0)
        return np.asarray(covered > 0)
