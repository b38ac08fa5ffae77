"""Reading a file of sound: WAV, FLAC, Ogg and MP3, through libsndfile, to one channel of 16-bit samples."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.codecs import soundfile, to_int16
from edgeguard.errors import InputError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
LARGEST = 64 << 20  # bytes of a file
_MOST_VALUES = 1 << 26  # two hours at 8 kHz
_SLOWEST_HZ, _FASTEST_HZ = 1_000, 768_000  # of a file: fewer are no sound, and would grow when they are resampled
_WHOLE = ("PCM_16", "PCM_S8", "PCM_U8")
#: What libsndfile notes of a file that ends too early. It reads such files without a word.
_CUT_SHORT = ("(should be", "Junk after the last page", "without an End-Of-Stream")


class BrokenClipError(InputError):
    """A file of sound that cannot be used."""


class OtherRateError(BrokenClipError):
    """The file has another sample rate than the model, and may not be resampled."""


@dataclass(frozen=True, eq=False)
class Clip:
    """The sound of a file.

    Attributes:
        samples: int16 (n,), n >= 1.
        notes: what was done on the way, in a few words each; empty for most files.
    """

    samples: NDArray[np.int16]
    notes: tuple[str, ...] = ()


def read_clip(data: bytes, rate_hz: int, *, resample: bool = False) -> Clip:
    """The bytes of a file as samples at the model's rate.

    Args:
        data: of a WAV, FLAC, Ogg or MP3 file.
        rate_hz: samples a second that are wanted.
        resample: convert a file of another rate (with soxr) instead of refusing it.

    Raises:
        OtherRateError: another rate.
        BrokenClipError: no file of sound, one that ends early, no samples, or samples that are no numbers.
        InputError: soundfile or soxr is not installed.
    """
    module = soundfile()
    if len(data) > LARGEST:
        raise BrokenClipError(f"it has more than {LARGEST >> 20} MiB")
    try:
        with module.SoundFile(io.BytesIO(data)) as file:
            rate, frames, subtype = int(file.samplerate), int(file.frames), str(file.subtype)
            if frames * file.channels > _MOST_VALUES:
                raise BrokenClipError(f"it claims {frames} samples, more than {_MOST_VALUES // file.channels}")
            whole = subtype in _WHOLE
            values = file.read(dtype="int16" if whole else "float32", always_2d=True)
            cut = len(values) < frames or any(words in file.extra_info for words in _CUT_SHORT)
    except module.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise BrokenClipError(f"it cannot be read as sound: {reason}") from error
    if cut:
        raise BrokenClipError("it is cut short: its end is missing")
    if not len(values):
        raise BrokenClipError("it holds no samples")
    if not whole and not np.isfinite(values).all():
        raise BrokenClipError("it holds samples that are not finite numbers")
    if not _SLOWEST_HZ <= rate <= _FASTEST_HZ or len(values) * rate_hz > _MOST_VALUES * rate:
        raise BrokenClipError(f"it says that it has {rate} Hz: {len(values)} samples would take too long to play")
    if rate != rate_hz and not resample:
        raise OtherRateError(f"it has {rate} Hz, the model wants {rate_hz} Hz: --resample converts it")
    return _one_channel(values, rate, rate_hz, subtype)


def _one_channel(values: NDArray[np.int16] | NDArray[np.float32], rate: int, rate_hz: int, subtype: str) -> Clip:
    notes = []
    if values.shape[1] > 1:
        notes.append(f"{values.shape[1]} channels were averaged")
    if values.dtype == np.int16 and values.shape[1] == 1 and rate == rate_hz:
        return Clip(np.ascontiguousarray(values[:, 0]))
    mixed = values.astype(np.float64).mean(1) / (32768 if values.dtype == np.int16 else 1)
    if subtype in ("PCM_24", "PCM_32"):
        notes.append(f"{subtype[4:]}-bit samples were rounded to 16 bits")
    if np.abs(mixed).max() > 1:
        notes.append("samples beyond full scale were cut")
    if rate != rate_hz:
        mixed = resampled(mixed, rate, rate_hz)
        notes.append(f"{rate} Hz were resampled to {rate_hz} Hz")
        if not len(mixed):
            raise BrokenClipError(f"it has too few samples to be resampled to {rate_hz} Hz")
    return Clip(to_int16(mixed), tuple(notes))


def resampled(samples: NDArray[np.float64], rate: int, rate_hz: int) -> NDArray[np.float64]:
    """Samples at another rate, by soxr at its high quality.

    Raises:
        InputError: soxr is not installed.
    """
    try:
        import soxr
    except ImportError as error:
        from edgeguard.system.extras import how_to_install

        raise InputError(f"resampling needs soxr: {how_to_install('audio')}") from error
    return np.asarray(soxr.resample(samples, rate, rate_hz))
