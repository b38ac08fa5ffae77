"""Reading a file of sound: WAV, FLAC, Ogg and MP3, through libsndfile, to one channel of 16-bit samples."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio.codecs import soundfile, to_int16
from edgeguard.errors import InputError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
LARGEST = 64 << 20  # bytes of a file
_MOST_VALUES = 1 << 26  # two hours at 8 kHz
_PIECE = 1 << 20  # values that are read at a time
_SLOWEST_HZ, _FASTEST_HZ = 1_000, 768_000  # of a file: fewer are no sound, and would grow when they are resampled
_WHOLE = ("PCM_16", "PCM_S8", "PCM_U8")
#: Codings that are read: of those in a WAV that telephones had, libsndfile's decoders cannot tell where they end.
_CODINGS = (*_WHOLE, "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "VORBIS", "OPUS",
            "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")  # fmt: skip
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
    if not is_read(data):
        raise BrokenClipError("it cannot be read as sound: it is neither WAV, FLAC, Ogg nor MP3")
    try:
        with module.SoundFile(io.BytesIO(data)) as file:
            return _read(file, rate_hz, resample)
    except module.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise BrokenClipError(f"it cannot be read as sound: {reason}") from error


def is_read(data: bytes) -> bool:
    """Whether a file begins as one of the four formats; libsndfile would open two dozen, whatever the file's name.

    Example:
        >>> is_read(b"RIFF....WAVEfmt "), is_read(b".snd....")
        (True, False)
    """
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) > at + 10:  # a tag that MP3 and FLAC may have in front
        sizes = data[at + 6 : at + 10]
        at += 10 + (sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3])
    head = data[at : at + 12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] == b"WAVE"
    return head[:4] in (b"fLaC", b"OggS") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def _read(file: Any, rate_hz: int, resample: bool) -> Clip:
    """The samples of an open file, piece by piece: as a whole, in 64 bits, a file of 20 kB can be a gigabyte."""
    _check_head(file, rate_hz)
    if file.subtype not in _WHOLE or file.channels > 1 or file.samplerate != rate_hz:
        return _mixed(file, rate_hz, resample)
    pieces = [values[:, 0].copy() for values in _pieces(file, "int16")]
    _check_end(file, sum(map(len, pieces)))
    return Clip(np.concatenate(pieces))


def _mixed(file: Any, rate_hz: int, resample: bool) -> Clip:
    """As `_read`, of a file whose samples are averaged, rounded or resampled."""
    rate, kind, other = int(file.samplerate), "int16" if file.subtype in _WHOLE else "float32", None
    convert = to_int16 if rate == rate_hz else (other := _Resampler(rate, rate_hz)) if resample else None
    pieces, count, loudest, is_finite = list[NDArray[np.int16]](), 0, 0.0, True
    for values in _pieces(file, kind):
        count += len(values)
        is_finite = is_finite and bool(np.isfinite(values).all())
        if is_finite and convert is not None:
            mixed = values.astype(np.float64).mean(1) / (32768 if kind == "int16" else 1)
            loudest = max(loudest, float(np.abs(mixed).max()))
            pieces.append(convert(mixed))
    _check_end(file, count)
    if not is_finite:
        raise BrokenClipError("it holds samples that are not finite numbers")
    if convert is None:
        raise OtherRateError(f"it has {rate} Hz, the model wants {rate_hz} Hz: --resample converts it")
    samples = np.concatenate(pieces if other is None else [*pieces, other.rest()])
    if not len(samples):
        raise BrokenClipError(f"it has too few samples to be resampled to {rate_hz} Hz")
    return Clip(samples, _notes(file, loudest, rate_hz))


def _check_head(file: Any, rate_hz: int) -> None:
    rate, frames, channels, coding = int(file.samplerate), int(file.frames), int(file.channels), str(file.subtype)
    if coding not in _CODINGS:
        raise BrokenClipError(f"it cannot be read as sound: its coding {coding} is not known here")
    if frames * channels > _MOST_VALUES:
        raise BrokenClipError(f"it claims {frames} samples, more than {_MOST_VALUES // channels}")
    if not _SLOWEST_HZ <= rate <= _FASTEST_HZ or frames * rate_hz > _MOST_VALUES * rate:
        raise BrokenClipError(f"it says that it has {rate} Hz: {frames} samples would take too long to play")


def _check_end(file: Any, count: int) -> None:
    if count < file.frames or any(words in file.extra_info for words in _CUT_SHORT):
        raise BrokenClipError("it is cut short: its end is missing")
    if not count:
        raise BrokenClipError("it holds no samples")


def _pieces(file: Any, kind: str) -> Iterator[NDArray[Any]]:
    """Values (n, channels), a million at a time."""
    while len(values := file.read(_PIECE // file.channels, dtype=kind, always_2d=True)):
        yield values


def _notes(file: Any, loudest: float, rate_hz: int) -> tuple[str, ...]:
    said = (
        (file.channels > 1, f"{file.channels} channels were averaged"),
        (file.subtype in ("PCM_24", "PCM_32"), f"{file.subtype[4:]}-bit samples were rounded to 16 bits"),
        (loudest > 1, "samples beyond full scale were cut"),
        (file.samplerate != rate_hz, f"{file.samplerate} Hz were resampled to {rate_hz} Hz"),
    )
    return tuple(text for holds, text in said if holds)


class _Resampler:
    """Samples of -1..1 at another rate, in 16-bit steps, by soxr at its high quality; piece by piece.

    Raises:
        InputError: soxr is not installed.
    """

    def __init__(self, rate: int, rate_hz: int) -> None:
        try:
            import soxr
        except ImportError as error:
            from edgeguard.system.extras import how_to_install

            raise InputError(f"resampling needs soxr: {how_to_install('audio')}") from error
        self._stream = soxr.ResampleStream(rate, rate_hz, 1, "float64")

    def __call__(self, samples: NDArray[np.float64]) -> NDArray[np.int16]:
        return to_int16(self._stream.resample_chunk(samples))

    def rest(self) -> NDArray[np.int16]:
        """What it holds back, at the end."""
        return to_int16(self._stream.resample_chunk(np.empty(0), last=True))
