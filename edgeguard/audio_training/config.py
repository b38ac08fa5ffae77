"""What a training on sound is told: the keys of its TOML file, which flags stand before."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edgeguard.audio.codecs import KNOWN, sound_codec
from edgeguard.audio.features import FRAME
from edgeguard.errors import InputError
from edgeguard.settings.check import check_saved, checked
from edgeguard.settings.declare import TEXT, Key, file_of, key, keys_of
from edgeguard.settings.reader import read_values
from edgeguard.system.foreign import foreign_json, parsing, read_bounded

_model, _data, _schedule = partial(key, table="model"), partial(key, table="data"), partial(key, table="schedule")
_augment, _sound = partial(key, table="augment"), partial(key, table="sound")


def _codec(value: Any) -> str:
    try:
        sound_codec(value)
    except InputError as error:
        raise ValueError(f"is no codec of sound ({error})") from error
    return str(value)


@dataclass(frozen=True)
class SoundConfig:
    """Everything that decides how a training on sound goes.

    Example:
        >>> SoundConfig(data="fsdd.zip").features
        'stft'
    """

    width: int = _model("Filters of the first layer; the second has twice as many.", 16, low=4, high=256)
    first_layer: Literal["float", "ternary", "binary"] = _model("The values of the first layer's weights.", "float")

    data: str = _data(
        "Class folders of clips, or a .zip of them, below train/ and test/ or without.", "", values="FOLDER, FILE.zip",
        words=TEXT,
    )  # fmt: skip
    holdout: float = _data("Share kept for testing where the data has no test part.", 0.1, low=0.01, high=0.9)
    leave_out: str | None = _data(
        "Test on this speaker's clips and train on the others' (names like SPEAKER_7.wav); all: a fold for each.",
        None, words=TEXT,
    )  # fmt: skip
    limit: int = _data("Use at most so many clips of each part, classes balanced; 0 all.", 0, low=0, high=10**8)
    bad_clips_at_most: float = _data(
        "Share that may be broken; those are counted, listed and left out.", 0.01, low=0, high=1
    )
    resample: bool = _data("Convert clips of another rate instead of refusing them.", False)

    rate: int = _sound("Of the samples.", 8000, low=4000, high=96000, unit="Hz")
    window: float = _sound("Length of what the network hears at a time; made whole frames.", 1.0, low=0.13, high=30,
                           unit="s")  # fmt: skip
    features: Literal["stft", "logmel"] = _sound("What it sees of them.", "stft")
    codec: str = _sound("What the sound goes through, in training and in the test.", "none", values=KNOWN,
                        check=_codec, words=TEXT)  # fmt: skip
    input: Literal["decoded", "codes"] = _sound("Behind vq:K: decoded features, or the planes of the codes.", "decoded")
    order: Literal["tour", "kmeans"] = _sound(
        "How the codewords of vq:K are numbered: Gray codes along a tour of neighbors, or as they come.", "tour"
    )

    epochs: int = _schedule("How often each clip is heard.", 15, low=1, high=10000)
    batch: int = _schedule("Clips of a step.", 64, low=2, high=8192, unit="clips")
    learning_rate: float = _schedule("Highest learning rate (Adam).", 0.002, low=1e-6, high=1)
    dropout: float = _schedule("Share of the last features that a step leaves out.", 0.3, low=0, high=0.9)
    seed: int = _schedule("Of everything random.", 0, low=0, high=2**31 - 1)

    shift: bool = _augment("Put a clip anywhere in its window; else in the middle.", True)
    noise_db: float = _augment(
        "White noise up to so far below full scale on half of the clips; -100: none.",
        -50.0,
        low=-100,
        high=0,
        unit="dB",
    )
    gain_db: float = _augment("Louder or softer by up to so much.", 6.0, low=0, high=40, unit="dB")

    @property
    def augments(self) -> bool:
        """Whether a clip is another one in each epoch."""
        return self.shift or self.noise_db > -100 or self.gain_db > 0

    @property
    def samples(self) -> int:
        """Of a window: whole frames of the stft, an even number of them."""
        return -(-round(self.window * self.rate) // (2 * FRAME)) * 2 * FRAME

    @property
    def sha256(self) -> str:
        """Names the configuration, without where its clips are: a checkpoint of another is refused."""
        import hashlib

        values = {name: value for name, value in asdict(self).items() if name != "data"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> bytes:
        """As it stands beside the model."""
        return (json.dumps({"task": "audio", **asdict(self)}, indent=1) + "\n").encode()


def file_keys() -> dict[str, Key]:
    """The tables of a configuration file, with their keys."""
    return file_of(SoundConfig)


def read_config(path: Path | None, flags: Mapping[str, Any]) -> SoundConfig:
    """A configuration from a file (or none), with values from flags in front of it (None is not given).

    Raises:
        InputError: unknown tables or keys, values out of bounds (with file and line), or what does not fit together.
    """
    tables = {} if path is None else read_values(path, file_keys())
    values = {name: value for table in tables.values() for name, value in table.items()}
    for name, one in keys_of(SoundConfig).items():
        if flags.get(name) is not None:
            values[name] = checked(one, flags[name], f"--{name.replace('_', '-')}")
    return checked_config(SoundConfig(**values))


def checked_config(config: SoundConfig) -> SoundConfig:
    """The configuration, if its parts fit together.

    Raises:
        InputError: they do not; the line says what to change.
    """
    codec = sound_codec(config.codec)
    if not config.data:
        raise InputError("training needs data: --data FOLDER, or [data] data in the configuration")
    if config.input == "codes" and codec.kind != "vq":
        raise InputError(f"--input codes reads the codes of vq:K; --codec {config.codec} has none")
    if config.order != "tour" and codec.kind != "vq":
        raise InputError(f"--order is for --codec vq:K; --codec {config.codec} has no codewords")
    codec.check_rate(config.rate)
    return config


def is_sound_run(folder: Path) -> bool:
    """True for a folder that a training on sound wrote."""
    try:
        return b'"task": "audio"' in read_bounded(folder / "config.json", 1 << 20, "the configuration")[:4096]
    except InputError:
        return False


def read_saved(path: Path) -> SoundConfig:
    """The configuration that a training wrote beside its model.

    Raises:
        InputError: it cannot be read, or is of another version.
    """
    raw = read_bounded(path, 1 << 20, "the configuration")
    with parsing(str(path)):
        values = foreign_json(raw)
        values.pop("task")
        check_saved(keys_of(SoundConfig), values)
        return SoundConfig(**values)


def fold_of(config: SoundConfig, speaker: str) -> SoundConfig:
    """The configuration of one speaker's fold."""
    return replace(config, leave_out=speaker)
