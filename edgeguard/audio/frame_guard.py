"""The guard in one dimension: DCT of frames that do not overlap, one step for every coefficient.

It is the image guard's arithmetic with one axis. Pass 1 at the microphone rounds each coefficient of a frame of 256
samples to a multiple of the step, and the result to whole samples. Pass 2 does the same before the model. A change of
at most eps 16-bit steps in every sample moves coefficient k by at most A_k eps, where A_k is the sum of the absolute
values of its basis. While that stays under half a step, less what the rounding to whole samples took, pass 2 gives the
same samples as without the change.

What it holds is what two passes hold of images: a change between the two passes, on the same grid and with the same
step. Whoever changes more, or what is said into the microphone, is not stopped.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

FRAME = 256  # samples
_ROUNDING = 1e-6  # of a coefficient: what float64 may lose over a frame of 16-bit samples


@lru_cache(maxsize=1)
def basis() -> NDArray[np.float64]:
    """The orthonormal DCT-II of a frame, (256, 256): row k holds coefficient k's basis."""
    n, k = np.arange(FRAME), np.arange(FRAME)[:, None]
    rows = np.sqrt(2 / FRAME) * np.cos(np.pi * (2 * n + 1) * k / (2 * FRAME))
    rows[0] = np.sqrt(1 / FRAME)
    return np.asarray(rows)


@lru_cache(maxsize=1)
def reach() -> NDArray[np.float64]:
    """A_k (256,): how far a change of one step in every sample can move coefficient k.

    16 for the first and for the one at a quarter of the sample rate, about 14.4 for the others.

    Example:
        >>> [round(float(reach()[k]), 1) for k in (0, 1, 128)]
        [16.0, 14.4, 16.0]
    """
    return np.asarray(np.abs(basis()).sum(1))


@dataclass(frozen=True)
class FrameGuard:
    """The guard with one step.

    Attributes:
        step: of the coefficients, in 16-bit steps, 1..65535.

    Example:
        >>> FrameGuard(300).largest_proven
        8
    """

    step: int

    def __call__(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """One pass over whole frames (the length is a multiple of 256)."""
        indices = np.rint(_coefficients(samples) / self.step)
        back = _samples(indices * self.step)
        return np.clip(np.rint(back), -32768, 32767).astype(np.int16).reshape(samples.shape)

    def proven(self, received: NDArray[np.int16]) -> NDArray[np.int64]:
        """For each frame of what reached pass 2: the largest change, in 16-bit steps, that pass 2 removes exactly.

        Args:
            received: int16 (n * 256,), as pass 1 gave them, or changed since.

        Returns:
            int64 (n,). 0: nothing is proven. No change of at most so many steps in each sample can alter what pass 2
            gives for this frame, whatever its signs. That is the certificate in transit: if pass 1 used this step on
            this grid, it says so of what was recorded as well.
        """
        coefficients = _coefficients(received)
        away = np.abs(coefficients - np.rint(coefficients / self.step) * self.step)
        margin = self.step / 2 - away - _ROUNDING
        # below and not at: half a step exactly goes to the even index
        largest = np.ceil(margin / reach()).min(1) - 1
        return np.maximum(largest, 0).astype(np.int64)

    def made(self, samples: NDArray[np.int16]) -> bool:
        """Whether samples are what pass 1 gives: every frame within a rounding to whole samples of a multiple.

        Silence is, too. With small steps, below about 20, any samples are.
        """
        coefficients = _coefficients(samples)
        away = np.abs(coefficients - np.rint(coefficients / self.step) * self.step)
        return bool((away <= reach() / 2 + _ROUNDING).all())

    @cached_property
    def largest_proven(self) -> int:
        """The change, in 16-bit steps, that any frame of pass 1 survives: its own rounding to whole samples took half.

        Frames with samples at the end of the range were cut, and have what `proven` says of them.
        """
        return max(int(np.ceil(((self.step / 2 - _ROUNDING) / reach()).min() - 0.5)) - 1, 0)


def whole_frames(samples: int) -> int:
    """So many samples, and what is left of the last frame.

    Example:
        >>> whole_frames(8128)
        8192
    """
    return -(-samples // FRAME) * FRAME


# The transform and its inverse by way of a complex FFT of the same length (Makhoul 1980). A product with the basis
# would wait for threads that the BLAS library starts for it.
_ORDER = np.concatenate([np.arange(0, FRAME, 2), np.arange(FRAME - 1, 0, -2)])
_TURN = np.exp(-0.5j * np.pi * np.arange(FRAME) / FRAME)
_SCALE = np.sqrt(np.where(np.arange(FRAME) == 0, 1, 2) / FRAME)


def _coefficients(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Of frames (n, 256), or (n * 256,), samples."""
    frames = samples.reshape(-1, FRAME)[:, _ORDER].astype(np.float64)
    return np.asarray((np.fft.fft(frames) * _TURN).real * _SCALE)


def _samples(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `_coefficients`, (n, 256)."""
    real = coefficients / _SCALE
    mirrored = np.zeros_like(real)
    mirrored[:, 1:] = real[:, :0:-1]
    samples = np.empty_like(coefficients)
    samples[:, _ORDER] = np.fft.ifft((real - 1j * mirrored) / _TURN).real
    return samples
