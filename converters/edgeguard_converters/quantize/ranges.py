"""How much of each activation's range int8 keeps: everything, all but the rarest values, or what costs the least error.

A tensor's values are counted once into a histogram over its full range. `minmax` keeps that range; `percentile` cuts
the rarest values off; `mse` takes the range whose clipping and rounding errors together are smallest (as in TensorRT's
and PyTorch's histogram observers, by direct search).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.support.log import chatter_to

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

_BINS = 2048
_BESIDE = 1e-5  # of the range, a fiftieth of a bin
_KEPT = 0.99999  # of the values, at either end
_LEVELS = 255
_MOST_AT_ONCE = 4  # interpreters, each of which keeps all activations of an image
_IMAGES = 48  # enough for a histogram: each image gives thousands of values a tensor


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of a tensor's values in equal bins from `low` to `high`, its smallest and largest value."""

    low: float
    high: float
    counts: NDArray[np.int64]

    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[1:] + edges[:-1]) / 2


def count_activations(
    graph: FloatGraph, pixels: NDArray[np.uint8], extremes: dict[str, tuple[float, float]], *, log: Path
) -> dict[str, Histogram]:
    """Histograms of the float activations whose extremes are known, over up to 48 of the images.

    Args:
        graph: the float graph.
        pixels: calibration images, (n, h, w, 3).
        extremes: smallest and largest value of each tensor, by name.
        log: where the runtime's chatter goes.
    """
    pixels = pixels[:: -(-len(pixels) // _IMAGES)]
    cores = max(min(len(os.sched_getaffinity(0)), len(pixels), _MOST_AT_ONCE), 1)

    def count(first: int) -> dict[str, NDArray[np.int64]]:
        counts = {name: np.zeros(_BINS, np.int64) for name in extremes}
        for found in graph.tflite.activations(pixels[first::cores], graph.feed, extremes):
            for name, _, values in found:
                if values.dtype == np.float32:
                    counts[name] += _counted(values, *extremes[name])
        return counts

    with chatter_to(log), ThreadPoolExecutor(cores, "edgeguard-ranges") as pool:
        parts = list(pool.map(count, range(cores)))
    counts = {name: sum((part[name] for part in parts), np.zeros(_BINS, np.int64)) for name in extremes}
    return {name: Histogram(*extremes[name], count) for name, count in counts.items() if count.any()}


def _counted(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    """As `numpy.histogram`, three times as fast; values on the border of two bins may fall into either.

    Two kernels compute a tensor's last digits differently: what lies so little outside of its extremes counts.
    """
    beside = _BESIDE * (high - low)
    above = max(high + beside, float(np.nextafter(np.float32(high), np.float32(np.inf))))  # the border itself is out
    row = np.ascontiguousarray(values).reshape(1, -1)
    counted = cv2.calcHist([row], [0], None, [_BINS], [low - beside, above])
    return counted.ravel().astype(np.int64)


def kept_range(histogram: Histogram, method: Method) -> tuple[float, float]:
    """The range that int8 is to cover: it holds 0, which has to be exact.

    Example:
        >>> kept_range(Histogram(0.0, 6.0, np.ones(2048, np.int64)), "minmax")
        (0.0, 6.0)
    """
    if method == "percentile":
        return _percentile(histogram)
    if method == "mse":
        return _least_error(histogram)
    return min(histogram.low, 0.0), max(histogram.high, 0.0)


def _percentile(histogram: Histogram) -> tuple[float, float]:
    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    low = edges[np.searchsorted(share, 1 - _KEPT)]
    high = edges[min(int(np.searchsorted(share, _KEPT)) + 1, len(edges) - 1)]
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(histogram: Histogram) -> tuple[float, float]:
    centers, counts = histogram.centers(), histogram.counts
    lows = np.linspace(0.4, 1.0, 25) * histogram.low if histogram.low < 0 else np.zeros(1)
    highs = np.linspace(0.3, 1.0, 36) * histogram.high if histogram.high > 0 else np.zeros(1)
    best = (np.inf, histogram.low, histogram.high)
    for low in lows:
        for high in highs:
            step = (high - low) / _LEVELS
            if step <= 0:
                continue
            clipped = np.where(centers < low, low - centers, np.where(centers > high, centers - high, 0.0))
            error = float((np.where(clipped > 0, clipped**2, step**2 / 12) * counts).sum())
            best = min(best, (error, float(low), float(high)))
    return min(best[1], 0.0), max(best[2], 0.0)
