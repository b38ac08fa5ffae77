"""What a model of sound expects of its input: the part `audio` of its contract."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from edgeguard.audio.codebook import SIDE, Codebook
from edgeguard.audio.codecs import SoundCodec, sound_codec
from edgeguard.audio.features import OLD_SCALE, SCALE, Features, mel_frame, shape_of
from edgeguard.audio.frame_guard import whole_frames
from edgeguard.errors import InputError

Reads = Literal["decoded", "codes"]
_KEYS = ("rate_hz", "samples", "features", "codec", "reads", "codebook", "codebook_sha256", "scale")
_NEEDED = _KEYS[:5]


@dataclass(frozen=True)
class AudioInput:
    """From samples to the model's tensor.

    Attributes:
        rate_hz: samples a second.
        samples: of a window.
        features: which (`features`).
        codec: what the sound goes through (`codecs`).
        reads: `codes` = the planes of a codebook's codes; `decoded` = features, those of the codewords behind `vq:K`.
        codebook: of `vq:K`, else None.
        scale: of an stft's coefficients before their logarithm.
    """

    rate_hz: int
    samples: int
    features: Features = "stft"
    codec: str = "none"
    reads: Reads = "decoded"
    codebook: Codebook | None = None
    scale: float = SCALE

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        codec = self.sound_codec
        codec.check_rate(self.rate_hz)
        if self.features not in get_args(Features) or self.reads not in get_args(Reads):
            raise InputError(f"features {self.features!r} or input {self.reads!r} are not known")
        if not (0 < self.scale <= 1 if self.features == "stft" else self.scale == SCALE):
            raise InputError(f"a scale is that of an stft, above 0 and at most 1, not {self.scale:g}")
        if not 4000 <= self.rate_hz <= 96000:
            raise InputError(f"a sample rate is 4000 to 96000 Hz, not {self.rate_hz}")
        if not 4 * mel_frame(self.rate_hz) <= self.samples <= 30 * self.rate_hz:
            raise InputError(f"a window is 0.13 to 30 s, not {self.samples / self.rate_hz:g} s")
        wanted = int(codec.number) if codec.kind == "vq" else 0
        if wanted != (0 if self.codebook is None else len(self.codebook.words)):
            raise InputError(f"the codec {self.codec} does not fit the codebook")
        if self.reads == "codes" and self.codebook is None:
            raise InputError(f"codes are those of vq:K; the codec {self.codec} has none")

    @property
    def sound_codec(self) -> SoundCodec:
        """The codec, taken apart."""
        return sound_codec(self.codec)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """Rows and columns of the features."""
        return shape_of(self.features, self.samples, self.rate_hz)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and planes of the tensor."""
        rows, columns = self.feature_shape
        if self.reads == "codes" and self.codebook is not None:
            return rows // SIDE, columns // SIDE, self.codebook.bits
        return rows, columns, 1

    @property
    def taken(self) -> int:
        """Samples that are taken for a window: whole frames of the guard, where there is one."""
        return whole_frames(self.samples) if self.sound_codec.guard is not None else self.samples

    @property
    def stored_bytes(self) -> int:
        """Of a window's features in memory: packed codes behind a codebook, else 16 bits a value."""
        rows, columns = self.feature_shape
        if self.codebook is not None:
            return -(-rows * columns // (SIDE * SIDE) * self.codebook.bits // 8)
        return 2 * rows * columns

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in the contract; the codebook in hexadecimal, with its SHA-256."""
        plain: dict[str, Any] = {
            "rate_hz": self.rate_hz, "samples": self.samples, "features": self.features, "codec": self.codec,
            "reads": self.reads,
        }  # fmt: skip
        if self.codebook is not None:
            plain |= {"codebook": self.codebook.words.tobytes().hex(), "codebook_sha256": self.codebook.sha256}
        if self.features == "stft" and self.scale != OLD_SCALE:
            plain["scale"] = self.scale
        return plain


def audio_input(fields: Any) -> AudioInput:
    """The inverse of `AudioInput.to_dict`.

    Raises:
        InputError: a key that is missing, not known or of another type, or a codebook that is not the one whose hash
            stands beside it.
    """
    if not isinstance(fields, dict) or not set(_NEEDED) <= set(fields) <= set(_KEYS):
        raise InputError(f"audio is not a table of {', '.join(_KEYS)}")
    for key, kind in (("rate_hz", int), ("samples", int), ("features", str), ("codec", str), ("reads", str)):
        if type(fields[key]) is not kind:
            raise InputError(f"audio.{key} is of another type")
    scale = fields.get("scale", OLD_SCALE if fields["features"] == "stft" else SCALE)
    if type(scale) not in (int, float):
        raise InputError("audio.scale is of another type")
    book = None
    if "codebook" in fields:
        try:
            words = np.frombuffer(bytes.fromhex(fields["codebook"]), np.uint8)
        except (TypeError, ValueError) as error:
            raise InputError("audio.codebook is not hexadecimal") from error
        book = Codebook(words.reshape(-1, SIDE * SIDE) if words.size % (SIDE * SIDE) == 0 else words[:, None])
        if fields.get("codebook_sha256") != book.sha256:
            raise InputError("the codebook is another model's: its SHA-256 is not the one that the contract names")
    return AudioInput(**{key: fields[key] for key in _NEEDED}, codebook=book, scale=float(scale))
