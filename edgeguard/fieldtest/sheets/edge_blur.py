"""How far an edge of a print is smeared in a photograph: the borders of the tags are edges in known places."""

from math import erf

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.layout import Layout
from edgeguard.fieldtest.sheets.tags import FoundSheet

_REACH_PX = 8.0
_BIN_PX = 0.2
_TRACKS = 24
_SIGMAS_PX = np.arange(0.1, 6.0, 0.02)


def edge_blur_px(
    rgb: NDArray[np.uint8], layout: Layout, seen: FoundSheet, to_pixels: NDArray[np.float64]
) -> float:  # fmt: skip
    """Standard deviation of the blur, pixels of the photograph: the slanted edge method with a Gaussian.

    Args:
        rgb: the photograph.
        layout: of the sheet.
        seen: its tags.
        to_pixels: sheet's millimetres to pixels.
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigmas = []
    for place in seen.corners:
        tag = layout.tags[place]
        flat = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * tag.width + [tag.left, tag.top]
        quad = cv2.perspectiveTransform(flat[None].astype(np.float32), to_pixels)[0]
        side = float(np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1).min())
        reach = min(_REACH_PX, side / 12)  # a module is an eighth: beyond it the tag's bits begin
        for k in range(4):
            sigma = _of_edge(gray, quad[k], quad[(k + 1) % 4], quad.mean(0), reach)
            if sigma is not None:
                sigmas.append(sigma)
    return float(np.median(sigmas)) if sigmas else 0.0


def _of_edge(
    gray: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32], middle: NDArray[np.float32],
    reach: float,
) -> float | None:  # fmt: skip
    along = end - start
    normal = np.array([along[1], -along[0]], np.float32) / np.linalg.norm(along)
    if float(normal @ (start - middle)) < 0:
        normal = -normal
    steps = np.arange(-reach, reach + _BIN_PX / 2, _BIN_PX)
    share = np.linspace(0.1, 0.9, _TRACKS)
    places = start + share[:, None, None] * along + steps[None, :, None] * normal
    values = cv2.remap(gray, places[:, :, 0].astype(np.float32), places[:, :, 1].astype(np.float32), cv2.INTER_LINEAR)
    # tracks are moved so that their edges lie over each other: a tag's corner is known to a fraction of a pixel only
    low, high = float(values[:, :3].mean()), float(values[:, -3:].mean())
    if high - low < 30:
        return None
    share_of = (values - low) / (high - low)
    crossing = (share_of < 0.5).sum(1) * _BIN_PX - reach
    offsets = (steps[None] - crossing[:, None]).ravel()
    return _best_sigma(offsets, np.asarray(share_of, np.float64).ravel(), reach)


def _best_sigma(offsets: NDArray[np.float64], share: NDArray[np.float64], reach: float) -> float:
    """Of the error function that fits best; what the bilinear reading itself adds is taken off."""
    bins = np.arange(-reach, reach, _BIN_PX)
    which = np.digitize(offsets, bins)
    profile = np.array([share[which == k].mean() if (which == k).any() else np.nan for k in range(1, len(bins))])
    middle = (bins[:-1] + bins[1:]) / 2
    good = np.isfinite(profile)
    errors = [
        float(((np.array([0.5 + 0.5 * erf(x / sigma / 2**0.5) for x in middle[good]]) - profile[good]) ** 2).sum())
        for sigma in _SIGMAS_PX
    ]
    sigma = float(_SIGMAS_PX[int(np.argmin(errors))])
    return float(np.sqrt(max(sigma**2 - 1 / 6, 0.0)))
