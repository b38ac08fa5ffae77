"""What a training is told: a dataclass for each table of the TOML file, and all of them together.

Functions get the table that they need; only `run` knows the whole.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from edgeguard.errors import InputError
from edgeguard.settings import Text, checked, key, keys_of, read_values

Precision = Literal["auto", "float32", "bfloat16"]
#: The derivative of the codec that the inner attack sees; `drawn` is another one at each step.
GradientMode = Literal["straight-through", "identity", "differentiable-jpeg", "drawn"]
T = TypeVar("T")
_MILLION = 1_000_000
_CODECS = "none, fd, fd-jpeg, jpeg:75, FILE.toml, jpeg:20..90 (drawn), fd*0.5..2 (drawn), shield"


def _codec(value: Any) -> str:
    from edgeguard.train.codec_kind import codec_kind  # profiles bring numpy, and --help needs none

    try:
        codec_kind(value)
    except InputError as error:
        raise ValueError(f"is no codec ({error})") from error
    return str(value)


def _codecs(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) < 2:
        raise ValueError("is a list of at least two codecs")
    return tuple(_codec(name) for name in value)


def _profile_name(value: Any) -> str:
    from edgeguard.train.codec_kind import codec_kind

    name = _codec(value)
    if codec_kind(name).profile is None:
        raise ValueError("is the name of one profile")
    return name


@dataclass(frozen=True)
class NetworkConfig:
    """`[model]`."""

    network: Annotated[
        Text,
        key(
            "The network's name, or a .pt2 program to fine-tune (its batch statistics stay as they are).",
            values="resnet9, resnet11, resnet8, resnet20, mobilenetv2, cards, dct11, FILE.pt2",
        ),
    ] = "resnet9"
    width: Annotated[int, key("Of the network's first layer, where it has one.", low=4, high=512, unit="filters")] = 32
    size: Annotated[int, key("Side of the square input.", low=16, high=256, unit="pixels")] = 32
    start: Annotated[Text, key("A state_dict to begin from.", values="FILE.pt")] | None = None
    first_layer: Annotated[Literal["float", "ternary", "binary"], key("The values of the first layer's weights.")] = (
        "float"
    )


@dataclass(frozen=True)
class DataConfig:
    """`[data]`."""

    data: Annotated[
        Text,
        key("Class folders, or a .zip of them, below train/ and test/ or without.", values="FOLDER, FILE.zip"),
    ] = ""
    holdout: Annotated[float, key("Share kept for testing where the data has no test part.", low=0.01, high=0.9)] = 0.1
    keep: Annotated[
        Literal["pixels", "jpeg"], key("What is held in memory: decoded pixels, or JPEG bytes, decoded for each batch.")
    ] = "pixels"
    limit: Annotated[
        int,
        key("Use at most so many of each part, classes balanced; 0 all.", low=0, high=100 * _MILLION, unit="images"),
    ] = 0
    bad_images_at_most: Annotated[
        float, key("Share that may be broken; those are counted, listed and left out.", low=0, high=1)
    ] = 0.01


@dataclass(frozen=True)
class ScheduleConfig:
    """`[schedule]`."""

    epochs: Annotated[int, key("How often each image is seen.", low=1, high=10_000)] = 30
    batch: Annotated[int, key("Images of a step.", low=2, high=8192, unit="images")] = 256
    learning_rate: Annotated[float, key("Highest learning rate.", low=1e-6, high=10)] = 0.2
    warmup: Annotated[float, key("Share of the steps in which the rate rises.", low=0, high=0.9)] = 0.2
    weight_decay: Annotated[float, key("Of weights; biases and normalisation do not decay.", low=0, high=1)] = 5e-4
    label_smoothing: Annotated[float, key("Share of the target given to all classes.", low=0, high=0.5)] = 0.0
    ema: Annotated[
        float, key("Decay of the moving average of the weights, which is tested and exported.", low=0, high=0.99999)
    ] = 0.995
    seed: Annotated[int, key("Of everything random.", low=0, high=2**31 - 1)] = 0
    precision: Annotated[Precision, key("Of the network's arithmetic; auto: bfloat16 where it is fast.")] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        key("What trains; auto is a GPU where torch has one. Codec and augmentation stay on the CPU."),
    ] = "auto"


@dataclass(frozen=True)
class AugmentConfig:
    """`[augment]`."""

    flip: Annotated[bool, key("Mirror half of the images.")] = True
    shift: Annotated[int, key("Move by up to so many.", low=0, high=64, unit="pixels")] = 4
    cutout: Annotated[
        int,
        key("A grey square of this side somewhere (DeVries and Taylor 2017).", low=0, high=128, unit="pixels"),
    ] = 0
    light: Annotated[float, key("Contrast and brightness change by up to this share.", low=0, high=1)] = 0.0


@dataclass(frozen=True)
class CodecConfig:
    """`[codec]`."""

    codec: Annotated[Text, key("What images go through.", values=_CODECS, check=_codec)] = "none"
    codec_share: Annotated[
        float, key("Share of the images that go through it; the others stay as they are.", low=0, high=1)
    ] = 1.0
    ensemble: Annotated[
        tuple[Text, ...],
        key(
            "The network is trained once behind each (instead of codec), and the members vote.",
            wants="is a list of at least two codecs",
            values="list of at least two codecs",
            check=_codecs,
        ),
    ] = ()
    applied: (
        Annotated[
            Text,
            key(
                "The profile that the images went through before they came here, which the export names.",
                values="fd, fd-jpeg, jpeg:75, FILE.toml",
                check=_profile_name,
            ),
        ]
        | None
    ) = None


@dataclass(frozen=True)
class AdversarialConfig:
    """`[adversarial]`: the inner attack."""

    method: Annotated[
        Literal["none", "fgsm-rs", "pgd", "trades", "free"], key("How the training images are attacked.")
    ] = "none"
    eps_8bit: Annotated[float, key("Budget of that attack.", low=0.01, high=255, unit="levels")] = 8.0
    step_8bit: Annotated[
        float,
        key(
            "Its step; 0: 1.25 budgets (fgsm-rs, free), else 2.5 budgets over the steps.",
            low=0,
            high=255,
            unit="levels",
        ),
    ] = 0.0
    steps: Annotated[int, key("Its steps; for free: replays of each batch.", low=1, high=1000)] = 1
    backward: Annotated[
        GradientMode, key("The codec's derivative that it sees; drawn: another one at each of its steps.")
    ] = "straight-through"
    dct_bands: Annotated[
        int,
        key("It moves only so many DCT coefficients of a block; 0: plain sign steps.", low=0, high=64),
    ] = 0
    beta: Annotated[float, key("Weight of TRADES' divergence.", low=0, high=1000)] = 6.0

    @property
    def inner_step_8bit(self) -> float:
        """The inner attack's step in levels."""
        if self.step_8bit:
            return self.step_8bit
        return 1.25 * self.eps_8bit if self.method in ("fgsm-rs", "free") else 2.5 * self.eps_8bit / self.steps


@dataclass(frozen=True)
class TrainFile:
    """A configuration file of `train`: its tables. No key stands in two of them."""

    model: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)


# A dataclass takes over the fields of its bases from the last to the first.
@dataclass(frozen=True)
class TrainConfig(AdversarialConfig, CodecConfig, AugmentConfig, ScheduleConfig, DataConfig, NetworkConfig):
    """Everything that decides how a training goes, the keys of all tables side by side.

    `config.part(ScheduleConfig)` is what one table says.

    Example:
        >>> TrainConfig(data="photos/").codec
        'none'
    """

    def part(self, table: type[T]) -> T:
        """What one table says: `table` is its class, one of the bases of this one."""
        return table(**{name: getattr(self, name) for name in keys_of(table)})

    @property
    def sha256(self) -> str:
        """Names the configuration, without where its images are and what computes: a checkpoint of another is refused.

        Defaults are left out, so that what later versions add does not change the name.
        """
        default = asdict(TrainConfig())
        places = ("data", "device")
        values = {name: value for name, value in asdict(self).items() if name not in places and value != default[name]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_config(path: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """A configuration from a file (or none), with values from flags in front of it (None is not given).

    Relative paths of `data`, `start`, `network` and a codec's file are taken from where the command runs.

    Raises:
        InputError: unknown tables or keys, values out of bounds (with file and line), or no data.
    """
    tables = {} if path is None else read_values(path, TrainFile)
    values = {name: value for table in tables.values() for name, value in table.items()}
    for name, one in keys_of(TrainConfig).items():
        if flags.get(name) is not None:
            values[name] = checked(one, flags[name], f"--{name.replace('_', '-')}")
    config = TrainConfig(**values)
    if not config.data:
        raise InputError("training needs data: --data FOLDER, or [data] data in the configuration")
    return config
