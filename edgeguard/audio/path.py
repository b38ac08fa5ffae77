"""The one way from samples to the tensor of a model of sound: codec, features, codes.

Training, the converter's calibration and gates, `run` and the evaluations all go through here: what was measured is
what runs.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.codecs import fitted
from edgeguard.audio.features import levels_of
from edgeguard.audio.frame_guard import FRAME
from edgeguard.audio.spec import AudioInput

Fit = Literal["", "padded", "cut"]


@dataclass(frozen=True)
class SoundPath:
    """From a window of samples to uint8 levels.

    Example:
        >>> SoundPath(AudioInput(8000, 8128))(np.zeros(8128, np.int16)).shape
        (64, 128, 1)
    """

    spec: AudioInput

    def placed(self, samples: NDArray[np.int16]) -> tuple[NDArray[np.int16], Fit]:
        """A clip in a window of `spec.taken` samples: in its middle with silence around, or the middle of a longer one.

        Behind the guard the clip's own grid is kept.

        Returns:
            int16 (spec.taken,), and `padded`, `cut` or nothing.
        """
        length = self.spec.taken
        grid = FRAME if self.spec.sound_codec.guard is not None else 1
        room = length - len(samples)
        if room == 0:
            return samples, ""
        if room < 0:
            start = -room // 2 // grid * grid
            return samples[start : start + length], "cut"
        before = room // 2 // grid * grid
        return np.pad(samples, (before, room - before)), "padded"

    def through_codec(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """A window through the codec of samples, `spec.samples` of them; pass 2 of the guard, where that is the codec.

        Args:
            samples: int16, at least `spec.samples`; for the guard they begin on its grid.
        """
        spec = self.spec
        window = fitted(samples, spec.taken)
        return spec.sound_codec(window, spec.rate_hz)[: spec.samples]

    def levels(self, coded: NDArray[np.int16]) -> NDArray[np.uint8]:
        """What the model sees of samples behind the codec, uint8 `spec.shape`."""
        spec = self.spec
        levels = levels_of(spec.features, coded, spec.rate_hz, scale=spec.scale)
        if spec.codebook is None:
            return levels[..., None]
        codes = spec.codebook.encode(levels)
        if spec.reads == "codes":
            return spec.codebook.planes(codes)
        return spec.codebook.decode(codes)[..., None]

    def __call__(self, samples: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Both steps."""
        return self.levels(self.through_codec(samples))
