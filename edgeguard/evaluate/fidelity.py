"""How much of a picture a defense and an attack leave: PSNR and MS-SSIM."""

import numpy as np
from numpy.typing import NDArray

#: Wang, Simoncelli and Bovik 2003, section 3.2: the weights of five scales, the finest first.
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA, _MOST = 11, 1.5, 255.0
_C1, _C2 = (0.01 * _MOST) ** 2, (0.03 * _MOST) ** 2
_Plane = NDArray[np.float64]


def psnr_db(reference: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two pictures of one shape, dB; infinite where they are equal.

    Example:
        >>> round(psnr_db(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 5, np.uint8)), 2)
        34.15
    """
    error = float(np.square(reference.astype(np.float64) - other).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(_MOST**2 / error))


def ms_ssim(reference: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Multi-scale structural similarity, the mean over the channels; 1 for equal pictures.

    Five scales want a short side of 176 pixels. Smaller pictures get as many as fit, their weights scaled to the same
    sum; such figures do not compare with those of five scales.

    Args:
        reference, other: uint8 (h, w, 3) of one shape, 11 pixels or more a side.
    """
    side = min(reference.shape[:2])
    scales = sum(side >> scale >= _WINDOW for scale in range(len(_WEIGHTS)))
    if not scales:
        raise ValueError(f"a picture of {side} pixels is smaller than the window of {_WINDOW}")
    weights = np.array(_WEIGHTS[:scales]) / sum(_WEIGHTS[:scales])
    channels = [
        _of_channel(reference[..., c].astype(np.float64), other[..., c].astype(np.float64), weights)
        for c in range(reference.shape[2])
    ]
    return float(np.mean(channels))


def _of_channel(a: _Plane, b: _Plane, weights: _Plane) -> float:
    total = 1.0
    for scale, weight in enumerate(weights):
        similarity, structure = _similarities(a, b)
        last = scale == len(weights) - 1
        total *= max(similarity if last else structure, 0.0) ** float(weight)
        a, b = _halved(a), _halved(b)
    return total


def _similarities(a: _Plane, b: _Plane) -> tuple[float, float]:
    """Mean SSIM, and its part of contrast and structure, over all whole windows."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    structure = (2 * covariance + _C2) / (var_a + var_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return float((luminance * structure).mean()), float(structure.mean())


def _blurred(plane: _Plane) -> _Plane:
    import cv2

    half = _WINDOW // 2
    blurred = cv2.GaussianBlur(plane, (_WINDOW, _WINDOW), _SIGMA)
    return np.asarray(blurred[half : plane.shape[0] - half, half : plane.shape[1] - half], np.float64)


def _halved(plane: _Plane) -> _Plane:
    """The means of 2x2 pixels; a last odd row or column is left out."""
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    return plane[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
