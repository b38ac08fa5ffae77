from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from audio.signals import noise, tone

from edgeguard.audio.features import OLD_SCALE, SCALE, levels_of, mel_filters, shape_of


@pytest.mark.parametrize(("scale", "unit"), [(SCALE, 127 / 6), (OLD_SCALE, 127 / 12)])
def test_stft_is_the_seeds_transform(scale: float, unit: float) -> None:
    samples = noise(8128)
    frames = scipy.fft.rfft(samples.reshape(32, 254).astype(float))
    stacked = np.concatenate([frames.real, frames.imag])
    slog = np.sign(stacked) * np.log(1 + np.abs(stacked) * scale)
    wanted = np.clip(np.rint(128 + unit * slog), 0, 255)
    assert np.array_equal(levels_of("stft", samples, 8000, scale=scale), wanted)


@pytest.mark.parametrize("scale", [SCALE, OLD_SCALE])
def test_the_loudest_stft_stays_in_range(scale: float) -> None:
    levels = levels_of("stft", np.full(8128, -32768, np.int16), 8000, scale=scale)
    assert levels.min() >= 1  # 128 - 127: nothing is cut


def test_logmel_against_scipys_spectrogram() -> None:
    samples = noise(8128)
    window = scipy.signal.get_window("hann", 256)
    _, _, spectrum = scipy.signal.stft(
        samples / 32768, window=window, nperseg=256, noverlap=128, boundary=None, padded=False, scaling="spectrum"
    )
    power = np.abs(spectrum * window.sum()) ** 2
    decibels = 10 * np.log10(mel_filters(8000).T @ power)
    wanted = np.clip((decibels.T[:62] + 60) * 255 / 96, 0, 255)
    assert np.abs(levels_of("logmel", samples, 8000) - wanted).max() <= 0.5 + 1e-6


def test_a_tone_is_loudest_in_its_band() -> None:
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (40, 4000))
    edges = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    band = int(np.abs(edges[1:-1] - 1000).argmin())
    levels = levels_of("logmel", tone(1000, 8128), 8000)
    assert abs(int(levels.sum(0).argmax()) - band) <= 1


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("kind", ["stft", "logmel"])
def test_shapes_are_even_and_what_comes_out(rate: int, kind: Any) -> None:
    samples = -(-rate // 508) * 508
    shape = shape_of(kind, samples, rate)
    assert shape[0] % 2 == shape[1] % 2 == 0
    assert levels_of(kind, np.zeros(samples, np.int16), rate).shape == shape
    assert (mel_filters(rate).sum(0) > 0).all()
