"""What an attacker of sound differentiates: samples through codec, features and codes to logits.

Forward it is the device's own path, sample for sample. Backward it is BPDA (Athalye et al. 2018, section 4.1): codecs
and roundings count as the identity, features as what they are, the choice of a codeword as a soft one.

The attacks (`edgeguard.evaluate.attacks`) change levels 0..255. Here a level is an offset from the clip: 127 stands for
the clip as it is, each level beside it for `unit` 16-bit steps. Their budgets and roundings hold as they stand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeguard.audio.codecs import SoundCodec
from edgeguard.audio.features import (
    BANDS,
    CENTER,
    FLOOR_DB,
    FRAME,
    RANGE_DB,
    UNIT,
    largest_of,
    mel_filters,
    mel_frame,
    mel_window,
)
from edgeguard.audio.path import SoundPath
from edgeguard.audio.spec import AudioInput
from edgeguard.audio_training.batches import normalized
from edgeguard.differentiable.surrogates import bpda

MIDDLE = 127.0  # the level of no change
_MOST_LEVELS = 127  # to either side


def unit_of(eps_steps: int) -> int:
    """16-bit steps of a level, so that a budget fits: one for up to 127 steps."""
    return -(-eps_steps // _MOST_LEVELS)


@dataclass(frozen=True)
class SoundVictim:
    """A network behind a codec, for a fixed batch of clips.

    Attributes:
        network: normalized input to logits, in evaluation mode.
        spec: what it hears; a codec of samples in it is replaced by `codec`, a codebook stays.
        codec: of samples: none, mp3, opus, vorbis or dct.
        clips: int16 (n, samples), whole windows.
        unit: 16-bit steps of a level.
    """

    network: nn.Module
    spec: AudioInput
    codec: SoundCodec
    clips: NDArray[np.int16]
    unit: int = 1

    @property
    def start(self) -> Tensor:
        """The clips as they are, for an attack: float32 (n, 1, 1, samples) of the middle level."""
        return torch.full((len(self.clips), 1, 1, self.clips.shape[1]), MIDDLE)

    def samples(self, levels: Tensor) -> NDArray[np.int16]:
        """The changed clips, int16 (n, samples)."""
        delta = (levels.detach()[:, 0, 0].numpy().round() - MIDDLE) * self.unit
        return np.clip(self.clips + delta, -32768, 32767).astype(np.int16)

    def __call__(self, levels: Tensor) -> Tensor:
        """Logits (n, classes).

        Raises:
            ValueError: another number of clips than it was made for.
        """
        if len(levels) != len(self.clips):
            raise ValueError(f"{len(levels)} changes for {len(self.clips)} clips")
        path = SoundPath(self.spec)
        coded = [
            self.codec(samples, self.spec.rate_hz)[: self.spec.samples].astype(np.float32)
            for samples in self.samples(levels)
        ]
        heard = normalized([path.levels(one.astype(np.int16)) for one in coded])
        wave = torch.from_numpy(self.clips.astype(np.float32)) + (levels[:, 0, 0] - MIDDLE) * self.unit
        behind = bpda(torch.from_numpy(np.stack(coded)), wave[:, : self.spec.samples])
        soft = soft_levels(behind, self.spec)
        return self.network(bpda(heard, (soft - CENTER) / UNIT))


def soft_levels(wave: Tensor, spec: AudioInput) -> Tensor:
    """What the model sees of samples (n, samples), with a derivative: (n, planes, rows, columns) levels."""
    levels = _stft(wave, spec.scale) if spec.features == "stft" else _logmel(wave, spec)
    if spec.codebook is None or spec.reads == "decoded":
        return levels[:, None]
    words = torch.from_numpy(spec.codebook.words.astype(np.float32))
    n, rows, columns = levels.shape
    squares = levels.reshape(n, rows // 2, 2, columns // 2, 2).permute(0, 1, 3, 2, 4).reshape(n, -1, 4)
    distances = (squares**2).sum(2, keepdim=True) + (words**2).sum(1) - 2 * squares @ words.T
    nearest = distances.detach().topk(2, largest=False).values
    scale = (nearest[..., 1] - nearest[..., 0]).mean().clamp_min(1.0)  # between the two words that matter
    codes = np.arange(len(words), dtype=np.uint8)[None]
    planes = torch.from_numpy(spec.codebook.planes(codes)[0].astype(np.float32))
    soft = torch.softmax(-distances / scale, 2) @ planes
    return soft.permute(0, 2, 1).reshape(n, -1, rows // 2, columns // 2)


def _stft(wave: Tensor, scale: float) -> Tensor:
    n, samples = wave.shape
    spectrum = torch.fft.rfft(wave[:, : samples // FRAME * FRAME].reshape(n, -1, FRAME))
    parts = torch.cat([spectrum.real, spectrum.imag], 1)
    return CENTER + UNIT / largest_of(scale) * parts.sign() * torch.log1p(scale * parts.abs())


def _logmel(wave: Tensor, spec: AudioInput) -> Tensor:
    length = mel_frame(spec.rate_hz)
    rows, _ = spec.feature_shape
    frames = wave.unfold(1, length, length // 2)[:, :rows]
    spectrum = torch.fft.rfft(frames * torch.from_numpy(mel_window(spec.rate_hz).astype(np.float32)))
    filters = torch.from_numpy(mel_filters(spec.rate_hz).astype(np.float32))
    power = (spectrum.real**2 + spectrum.imag**2) @ filters
    decibels = 10 * torch.log10(power.clamp_min(1e-10))
    assert decibels.shape[2] == BANDS
    return ((decibels - FLOOR_DB) * (255 / RANGE_DB)).clamp(0, 255)


def relative_db(clips: NDArray[np.int16], changed: NDArray[np.int16]) -> NDArray[np.float64]:
    """The largest change of each clip against its largest sample, in dB (Carlini and Wagner 2018): (n,), -inf for none.

    Example:
        >>> relative_db(np.array([[1000, 0]], np.int16), np.array([[1000, 10]], np.int16)).tolist()
        [-40.0]
    """
    change = np.abs(changed.astype(np.int64) - clips).max(1)
    loudest = np.maximum(np.abs(clips.astype(np.int64)).max(1), 1)
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(change / loudest))
