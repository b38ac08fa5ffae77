"""A small data set of sound: three tones, said by two voices."""

from pathlib import Path

import numpy as np
from audio.signals import noise, tone, written

HERTZ = {"low": 300.0, "middle": 800.0, "high": 2000.0}


def small_data(folder: Path, each: int = 12) -> Path:
    """Class folders below train/ and test/, files SPEAKER_INDEX.wav."""
    rng = np.random.default_rng(0)
    for label, hertz in HERTZ.items():
        for index in range(each):
            for voice, pitch in (("ann", 1.0), ("bob", 1.1)):
                part = "test" if index < each // 3 else "train"
                sound = tone(hertz * pitch * rng.uniform(0.97, 1.03), int(rng.integers(2500, 6000)))
                path = folder / part / label / f"{voice}_{index}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(written((sound + noise(len(sound), seed=index, level=60.0)).astype(np.int16)))
    return folder
