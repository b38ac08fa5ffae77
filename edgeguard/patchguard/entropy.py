"""Entropy localisation and inpainting, after the idea of Jedi (Tarchoun et al. 2023, arXiv 2304.10029)."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.patchguard.base import Guarded, Image


@dataclass(frozen=True, kw_only=True)
class EntropyInpainting:
    """Windows of high entropy are cut out and filled from their surroundings.

    The paper completes the mask with an autoencoder and paints with a network; here a closing, a smallest area and a
    fill by averages of what is known (coarse to fine) do, which needs no network and no training.

    Attributes:
        window: side of the windows, pixels.
        bins: grey levels of the histograms.
        sigmas: an image's own mean entropy plus so many standard deviations is the threshold...
        floor_bits: ... but never less than this.
        smallest, largest: area of what is cut out, share of the image; blobs below are left, and where all of it is
            more, nothing is (a picture that is busy everywhere has no patch that could be told from it).

    Limits: a patch of low entropy passes; busy scenes are cut.
    """

    window: int = 17
    bins: int = 16
    sigmas: float = 1.2
    floor_bits: float = 2.6
    smallest: float = 0.005
    largest: float = 0.35
    name: str = "entropy"

    def __call__(self, image: Image) -> Guarded:
        """See `PatchGuard`."""
        entropy = self.local_entropy(image)
        threshold = max(float(entropy.mean() + self.sigmas * entropy.std()), self.floor_bits)
        suspect = self._cleaned(entropy > threshold)
        if not suspect.any():
            return Guarded(image, suspect)
        return Guarded(filled(image, suspect), suspect)

    def local_entropy(self, image: Image) -> NDArray[np.float32]:
        """Bits of each pixel's window, (h, w)."""
        level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) // (256 // self.bins)
        bits = _bits_of_counts(self.window**2)
        total = np.zeros(level.shape, np.float32)
        size = (self.window, self.window)
        for index in range(self.bins):
            inside = (level == index).astype(np.uint8)
            counts = cv2.boxFilter(inside, cv2.CV_16S, size, normalize=False, borderType=cv2.BORDER_REFLECT)
            total += np.take(bits, counts)
        return total

    def _cleaned(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Without specks and with holes closed; empty where too much of the image would go."""
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (self.window, self.window))
        closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed)
        large = [k for k in range(1, count) if statistics[k, cv2.CC_STAT_AREA] >= self.smallest * mask.size]
        kept = np.isin(labels, large)
        return kept if kept.mean() <= self.largest else np.zeros_like(kept)


@cache
def _bits_of_counts(most: int) -> NDArray[np.float32]:
    """-p log2 p for each count of `most`."""
    share = np.arange(most + 1) / most
    return np.asarray(-share * np.log2(np.maximum(share, 1e-12)), np.float32)


def filled(image: Image, hole: NDArray[np.bool_]) -> Image:
    """Fill a hole with averages of the known pixels around it, coarse ones where the hole is wide (push-pull)."""
    known = (~hole).astype(np.float32)
    levels: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = [
        (image.astype(np.float32) * known[:, :, None], known)
    ]
    while min(levels[-1][1].shape) > 2:
        colors, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        smaller = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (colors, weight))
        colors, weight = (np.asarray(plane, np.float32) for plane in smaller)
        levels.append((colors, weight))
    colors, weight = levels[-1]
    below = (colors.sum((0, 1)) / max(float(weight.sum()), 1e-6)).reshape(1, 1, 3)  # the mean of what is known
    for colors, weight in reversed(levels):
        below = cv2.resize(below, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR)
        here = colors / np.maximum(weight, 1e-6)[:, :, None]
        sure = np.minimum(weight, 1)[:, :, None]
        below = here * sure + below.reshape(here.shape) * (1 - sure)
    out = image.copy()
    out[hole] = np.clip(np.rint(below[hole]), 0, 255).astype(np.uint8)
    return out
