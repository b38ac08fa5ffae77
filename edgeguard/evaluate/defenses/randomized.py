"""Defences that draw lots: SHIELD's quantisation, resize and pad, pixel deflection."""

from dataclasses import dataclass

import numpy as np

from edgeguard.evaluate.defenses.base import Image
from edgeguard.train.codec import local_quantization


@dataclass(frozen=True)
class Shield:
    """Stochastic local quantisation (Das et al. 2018): each 8x8 block from a JPEG of a quality drawn from `qualities`.

    Limits: random per query, so EOT attacks it; the paper's vaccinated ensemble is not part of it.
    """

    qualities: tuple[int, ...] = (20, 40, 60, 80)
    name: str = "shield"
    randomized: bool = True

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        return local_quantization(image, self.qualities, np.random.default_rng(seed))


@dataclass(frozen=True)
class ResizePad:
    """Shrink to a random size and pad at a random place (Xie et al. 2018).

    The paper enlarges 299 to 299..331 for a net that takes any size; a .tflite takes one, so here the picture shrinks
    to `smallest`..1 of its side and is padded with black to the size it had.

    Limits: EOT over a few dozen draws breaks it (Athalye et al. 2018: 0 %).
    """

    smallest: float = 0.9
    name: str = "resize-pad"
    randomized: bool = True

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        import cv2

        rng = np.random.default_rng(seed)
        height, width = image.shape[:2]
        scale = rng.uniform(self.smallest, 1)
        new_height, new_width = max(round(height * scale), 1), max(round(width * scale), 1)
        top, left = rng.integers(0, height - new_height + 1), rng.integers(0, width - new_width + 1)
        out = np.zeros_like(image)
        small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
        out[top : top + new_height, left : left + new_width] = small
        return out


@dataclass(frozen=True, kw_only=True)
class PixelDeflection:
    """Pixel deflection (Prakash et al. 2018): random pixels take a neighbour's value, wavelet soft thresholding
    (BayesShrink) smooths the result.

    Parameters of the paper: 200 deflections in a window of 10. Its robust activation map needs the network and is left
    out (deflections are uniform).

    Limits: broken by BPDA (Athalye and Carlini 2018).
    """

    deflections: int = 200
    window: int = 10
    name: str = "pixel-deflection"
    randomized: bool = True

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        from skimage.restoration import denoise_wavelet

        rng = np.random.default_rng(seed)
        height, width = image.shape[:2]
        out = image.copy()
        rows, columns = rng.integers(0, height, self.deflections), rng.integers(0, width, self.deflections)
        shift = rng.integers(-self.window, self.window + 1, (2, self.deflections))
        out[rows, columns] = image[(rows + shift[0]).clip(0, height - 1), (columns + shift[1]).clip(0, width - 1)]
        smooth = denoise_wavelet(
            out / 255.0, method="BayesShrink", mode="soft", convert2ycbcr=True, channel_axis=-1, rescale_sigma=True
        )
        return (smooth * 255).round().clip(0, 255).astype(np.uint8)
