"""Sound for tests: tones and noise, and files of them."""

import io

import numpy as np
from numpy.typing import NDArray


def tone(hertz: float, samples: int = 4000, *, rate_hz: int = 8000, level: float = 8000.0) -> NDArray[np.int16]:
    """A tone with a soft beginning and end."""
    n = np.arange(samples)
    envelope = np.sin(np.pi * (n + 0.5) / samples) ** 0.5
    return np.rint(level * envelope * np.sin(2 * np.pi * hertz * n / rate_hz)).astype(np.int16)


def noise(samples: int, *, seed: int = 0, level: float = 3000.0) -> NDArray[np.int16]:
    """White noise."""
    return np.clip(np.rint(np.random.default_rng(seed).normal(0, level, samples)), -32768, 32767).astype(np.int16)


def written(samples: NDArray[np.generic], rate_hz: int = 8000, *, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a file; (n,) or (n, channels)."""
    import soundfile

    with io.BytesIO() as file:
        soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
        return file.getvalue()
