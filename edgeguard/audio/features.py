"""From samples to features of 8 bits: what a network of sound is trained on is what it sees on the device.

    stft      frames of 254 samples that do not overlap, rfft, real parts above imaginary ones; sign(x) log(1 + |x|)
    logmel    Hann frames of 32 ms, each begins half a frame after the last; 40 bands of Mel, in dB

Both give whole levels 0..255. Samples are in 16-bit steps.
"""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Features = Literal["stft", "logmel"]

FRAME = 254  # samples of an stft frame: 128 bins
SCALE = 1 / 32768  # of a coefficient before its logarithm: full scale is 1
OLD_SCALE = 1 / 64  # of models that name none: quiet coefficients became nearly as large as loud ones
BANDS = 40
LOWEST_HZ = 40.0
FLOOR_DB, RANGE_DB = -60.0, 96.0
CENTER, UNIT = 128.0, 127.0  # of a level: the network sees (level - CENTER) / UNIT


def shape_of(features: Features, samples: int, rate_hz: int) -> tuple[int, int]:
    """Rows and columns of the features of a window; both are even.

    Example:
        >>> shape_of("stft", 8128, 8000), shape_of("logmel", 8128, 8000)
        ((64, 128), (62, 40))
    """
    if features == "stft":
        return 2 * (samples // FRAME), FRAME // 2 + 1
    length = mel_frame(rate_hz)
    return ((samples - length) // (length // 2) + 1) // 2 * 2, BANDS


def levels_of(
    features: Features, samples: NDArray[np.int16], rate_hz: int, *, scale: float = SCALE
) -> NDArray[np.uint8]:
    """Features of a window of samples, uint8 (rows, columns).

    Args:
        features: which.
        samples: int16.
        rate_hz: samples a second, for the bands of Mel.
        scale: of an stft's coefficients before their logarithm.
    """
    return _stft(samples, scale) if features == "stft" else _logmel(samples, rate_hz)


def largest_of(scale: float) -> float:
    """What the last level of an stft stands for: a whole number that no sound of 16 bits exceeds.

    Example:
        >>> largest_of(SCALE), largest_of(OLD_SCALE)
        (6.0, 12.0)
    """
    return float(math.ceil(math.log1p(scale * FRAME * 32768)))


def mel_frame(rate_hz: int) -> int:
    """Samples of a logmel frame: 32 ms, an even number."""
    return 2 * round(0.016 * rate_hz)


@lru_cache(maxsize=4)
def mel_filters(rate_hz: int) -> NDArray[np.float64]:
    """Triangles that are even on the Mel scale (2595 log10(1 + f / 700)), (bins, BANDS)."""
    length = mel_frame(rate_hz)
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST_HZ, rate_hz / 2))
    edges = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)
    bins = np.arange(length // 2 + 1) * rate_hz / length
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(np.minimum(rising, falling), 0)
    # the lowest triangles can lie between two bins: each band has at least the bin that is nearest to its middle
    nearest = np.abs(bins[:, None] - edges[1:-1]).argmin(0)
    filters[nearest, np.arange(BANDS)] = np.maximum(filters[nearest, np.arange(BANDS)], 0.5)
    return filters


@lru_cache(maxsize=4)
def mel_window(rate_hz: int) -> NDArray[np.float64]:
    """The periodic Hann window, over 32768."""
    length = mel_frame(rate_hz)
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)) / 32768


def _stft(samples: NDArray[np.int16], scale: float) -> NDArray[np.uint8]:
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    spectrum = np.fft.rfft(frames)
    parts = np.concatenate([spectrum.real, spectrum.imag])
    squeezed = np.sign(parts) * np.log1p(scale * np.abs(parts))
    return _whole(CENTER + UNIT / largest_of(scale) * squeezed)


def _logmel(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.uint8]:
    length = mel_frame(rate_hz)
    rows, _ = shape_of("logmel", len(samples), rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[:: length // 2][:rows]
    spectrum = np.fft.rfft(frames * mel_window(rate_hz))
    power = (spectrum.real**2 + spectrum.imag**2) @ mel_filters(rate_hz)
    decibels = 10 * np.log10(np.maximum(power, 1e-10))
    return _whole((decibels - FLOOR_DB) * (255 / RANGE_DB))


def _whole(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
