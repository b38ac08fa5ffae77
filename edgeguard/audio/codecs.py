"""Codecs of sound by name: samples in, samples of the same length out.

none          as they are
mp3           MPEG layer III, variable rate as libsndfile sets it
opus:L        Ogg Opus; L = 0 (best) to 1 (smallest)
vorbis:L      Ogg Vorbis; L = 0 (best) to 1 (smallest)
dct:STEP      the guard in one dimension (`frame_guard`)
vq:K          K codewords for 2x2 blocks of features (`codebook`): not of samples, which it leaves as they are

A codec gives the same for the same samples, wherever libsndfile is the same.
"""

import io
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.frame_guard import FrameGuard
from edgeguard.errors import InputError

KNOWN = "none, mp3, opus:0..1, vorbis:0..1, dct:STEP, vq:K (K a power of two from 2 to 256)"
_RATES = {
    "opus": (8000, 12000, 16000, 24000, 48000),
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_FILES = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "vorbis": ("OGG", "VORBIS")}


@dataclass(frozen=True)
class SoundCodec:
    """A codec's text, taken apart.

    Attributes:
        kind: see the module.
        number: the compression level, the step, or the number of codewords.
    """

    kind: Literal["none", "mp3", "opus", "vorbis", "dct", "vq"]
    number: float = 0.0

    @property
    def guard(self) -> FrameGuard | None:
        """Of `dct:STEP`."""
        return FrameGuard(int(self.number)) if self.kind == "dct" else None

    def check_rate(self, rate_hz: int) -> None:
        """Refuse a rate that the codec does not know.

        Raises:
            InputError: with the rates that it knows.
        """
        known = _RATES.get(self.kind)
        if known is not None and rate_hz not in known:
            raise InputError(f"{self.kind} does not know {rate_hz} Hz; it knows {', '.join(map(str, known))}")

    def __call__(self, samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
        """Samples through the codec and back.

        Args:
            samples: int16 (n,); of `dct` whole frames of 256.
            rate_hz: samples a second.

        Raises:
            InputError: soundfile is not installed, or the codec does not know the rate.
        """
        if self.kind in ("none", "vq"):
            return samples
        if self.kind == "dct":
            return FrameGuard(int(self.number))(samples)
        return self.decode(self.encode(samples, rate_hz), len(samples))

    def encode(self, samples: NDArray[np.int16], rate_hz: int) -> bytes:
        """The file that `mp3`, `opus` and `vorbis` make of samples."""
        self.check_rate(rate_hz)
        sound = soundfile()
        container, subtype = _FILES[self.kind]
        level = None if self.kind == "mp3" else self.number
        # A file of no sound has no frames, and libsndfile writes Opus of very short clips that it cannot read
        with io.BytesIO() as file:
            with sound.SoundFile(file, "w", rate_hz, 1, subtype, format=container, compression_level=level) as writer:
                writer.write(samples)
            return file.getvalue()

    def decode(self, data: bytes, length: int) -> NDArray[np.int16]:
        """The first `length` samples of such a file; what is missing is silence."""
        found, _ = soundfile().read(io.BytesIO(data), dtype="float64", always_2d=True)
        return fitted(to_int16(found[:, 0]), length)


def sound_codec(name: str) -> SoundCodec:
    """What a codec's name says.

    Raises:
        InputError: no such codec, or a number out of range.

    Example:
        >>> sound_codec("opus:0.8")
        SoundCodec(kind='opus', number=0.8)
    """
    if name in ("none", "mp3"):
        return SoundCodec("none" if name == "none" else "mp3")
    if (match := re.fullmatch(r"(opus|vorbis):(\d(?:\.\d{1,3})?)", name)) and 0 <= float(match[2]) <= 1:
        return SoundCodec("opus" if match[1] == "opus" else "vorbis", float(match[2]))
    if (match := re.fullmatch(r"dct:(\d{1,5})", name)) and 1 <= int(match[1]) <= 65535:
        return SoundCodec("dct", int(match[1]))
    if (match := re.fullmatch(r"vq:(\d{1,3})", name)) and int(match[1]) in (2, 4, 8, 16, 32, 64, 128, 256):
        return SoundCodec("vq", int(match[1]))
    raise InputError(f"there is no codec of sound {name[:40]!r}; known: {KNOWN}")


def to_int16(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    """Samples of -1..1 in 16-bit steps; what is beyond is cut."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def fitted(samples: NDArray[np.int16], length: int) -> NDArray[np.int16]:
    """The first `length` samples, with silence behind where there are fewer."""
    if len(samples) >= length:
        return samples[:length]
    return np.pad(samples, (0, length - len(samples)))


def soundfile() -> Any:
    """The module soundfile.

    Raises:
        InputError: it is not installed, or its library is not there.
    """
    try:
        import soundfile as module
    except (ImportError, OSError) as error:
        from edgeguard.system.extras import how_to_install

        raise InputError(f"sound needs soundfile ({error}): {how_to_install('audio')}") from error
    return module
