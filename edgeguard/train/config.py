"""What a training is told: a dataclass for each table of the TOML file, and all of them together.

Functions get the table that they need; only `run` knows the whole. The tables' own dataclasses are handed on, and
neither compared nor shown: what does that would have to be made at each start, for `--help` too.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgeguard.errors import InputError
from edgeguard.settings.check import check_saved, checked
from edgeguard.settings.declare import TEXT, Key, file_of, key, keys_of

Precision = Literal["auto", "float32", "bfloat16"]
#: The derivative of the codec that the inner attack sees; `drawn` is another one at each step.
AdversarialMethod = Literal["none", "fgsm-rs", "pgd", "trades", "free"]
GradientMode = Literal["straight-through", "identity", "differentiable-jpeg", "differentiable-jpeg-ste", "drawn"]
#: How a base of randomized smoothing is trained.
SmoothingMethod = Literal["none", "gaussian", "smoothadv", "macer"]
T = TypeVar("T")
_MILLION = 1_000_000
_WHOLE_LEVELS = "wants a whole number of levels from 1 to 255 (8/255 is eps_8bit = 8)"
_CODECS = (
    "none, fd, fd-jpeg, jpeg:75, FILE.toml, gif, palette:N, avif:Q, jpeg:20..90 (drawn), fd*0.5..2 (drawn), shield"
)


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


def _whole(value: Any) -> float:
    if value != int(value):
        raise ValueError(_WHOLE_LEVELS)
    return float(value)


_model, _data, _schedule = partial(key, table="model"), partial(key, table="data"), partial(key, table="schedule")
_augment, _codec_key = partial(key, table="augment"), partial(key, table="codec")
_adversarial, _smoothing = partial(key, table="adversarial"), partial(key, table="smoothing")
_patch = partial(key, table="patch")


@dataclass(frozen=True, eq=False, repr=False)
class NetworkConfig:
    """`[model]`."""

    network: str = _model(
        "The network's name, or a .pt2 program to fine-tune (its batch statistics stay as they are).",
        "resnet9",
        values="resnet9, resnet11, resnet8, resnet20, mobilenetv2, lenet, cards, patchcert, dct11, FILE.pt2",
        words=TEXT,
    )
    width: int = _model("Of the network's first layer, where it has one.", 32, low=4, high=512, unit="filters")
    size: int = _model("Side of the square input.", 32, low=16, high=256, unit="pixels")
    start: str | None = _model("A state_dict to begin from.", None, values="FILE.pt", words=TEXT)
    first_layer: Literal["float", "ternary", "binary"] = _model("The values of the first layer's weights.", "float")


@dataclass(frozen=True, eq=False, repr=False)
class DataConfig:
    """`[data]`."""

    data: str = _data(
        "Class folders, or a .zip of them, below train/ and test/ or without.",
        "",
        values="FOLDER, FILE.zip",
        words=TEXT,
    )
    holdout: float = _data("Share kept for testing where the data has no test part.", 0.1, low=0.01, high=0.9)
    keep: Literal["pixels", "jpeg"] = _data(
        "What is held in memory: decoded pixels, or JPEG bytes, decoded for each batch.", "pixels"
    )
    limit: int = _data(
        "Use at most so many of each part, classes balanced; 0 all.", 0, low=0, high=100 * _MILLION, unit="images"
    )
    bad_images_at_most: float = _data(
        "Share that may be broken; those are counted, listed and left out.", 0.01, low=0, high=1
    )
    exclude: str | None = _data("Names of files to leave out, a line each.", None, values="LIST.txt", words=TEXT)
    overlay: str | None = _data(
        "A folder whose files stand for those of the same name (whatever the suffix), such as a poison's.",
        None,
        values="FOLDER",
        words=TEXT,
    )


@dataclass(frozen=True, eq=False, repr=False)
class ScheduleConfig:
    """`[schedule]`."""

    epochs: int = _schedule("How often each image is seen.", 30, low=1, high=10000)
    batch: int = _schedule("Images of a step.", 256, low=2, high=8192, unit="images")
    learning_rate: float = _schedule("Highest learning rate.", 0.2, low=1e-06, high=10)
    warmup: float = _schedule("Share of the steps in which the rate rises.", 0.2, low=0, high=0.9)
    weight_decay: float = _schedule("Of weights; biases and normalization do not decay.", 0.0005, low=0, high=1)
    label_smoothing: float = _schedule("Share of the target given to all classes.", 0.0, low=0, high=0.5)
    ema: float = _schedule(
        "Decay of the moving average of the weights, which is tested and exported.", 0.995, low=0, high=0.99999
    )
    seed: int = _schedule("Of everything random.", 0, low=0, high=2**31 - 1)
    precision: Precision = _schedule("Of the network's arithmetic; auto: bfloat16 where it is fast.", "auto")
    device: Literal["auto", "cpu", "cuda"] = _schedule(
        "What trains; auto is a GPU where torch has one. Codec and augmentation stay on the CPU.", "auto"
    )


@dataclass(frozen=True, eq=False, repr=False)
class AugmentConfig:
    """`[augment]`."""

    flip: bool = _augment("Mirror half of the images; signs, digits and text become others.", False)
    shift: int = _augment("Move by up to so many.", 4, low=0, high=64, unit="pixels")
    cutout: int = _augment(
        "A gray square of this side somewhere (DeVries and Taylor 2017).", 0, low=0, high=128, unit="pixels"
    )
    light: float = _augment("Contrast and brightness change by up to this share.", 0.0, low=0, high=1)
    mixup: float = _augment(
        "Batches are mixed with themselves in another order, by a share from Beta(m, m) (Zhang et al. 2018); 0: not.",
        0.0,
        low=0,
        high=10,
    )
    masks: Literal["none", "double", "greedy"] = _augment(
        "Two gray masks against [patch] patch_px: drawn, or those that lower the margin most (seven times as long).",
        "none",
    )


@dataclass(frozen=True, eq=False, repr=False)
class CodecConfig:
    """`[codec]`."""

    codec: str = _codec_key("What images go through.", "none", values=_CODECS, check=_codec, words=TEXT)
    codec_share: float = _codec_key(
        "Share of the images that go through it; the others stay as they are.", 1.0, low=0, high=1
    )
    ensemble: tuple[str, ...] = _codec_key(
        "The network is trained once behind each (instead of codec), and the members vote.",
        (),
        wants="is a list of at least two codecs",
        values="list of at least two codecs",
        check=_codecs,
    )
    applied: str | None = _codec_key(
        "The profile that the images went through before they came here, which the export names.",
        None,
        values="fd, fd-jpeg, jpeg:75, FILE.toml",
        check=_profile_name,
        words=TEXT,
    )


@dataclass(frozen=True, eq=False, repr=False)
class AdversarialConfig:
    """`[adversarial]`: the inner attack."""

    method: AdversarialMethod = _adversarial("How the training images are attacked.", "none")
    eps_8bit: float = _adversarial(
        "Budget of that attack.",
        8.0,
        low=1,
        high=255,
        unit="levels",
        values="1 to 255 levels, whole",
        wants=_WHOLE_LEVELS,
        check=_whole,
    )
    step_8bit: float = _adversarial(
        "Its step; 0: 1.25 budgets (fgsm-rs, free), else 2.5 budgets over the steps.",
        0.0,
        low=0,
        high=255,
        unit="levels",
    )
    steps: int = _adversarial("Its steps; for free: replays of each batch.", 1, low=1, high=1000)
    backward: GradientMode = _adversarial(
        "The codec's derivative that it sees; drawn: another one at each of its steps.", "straight-through"
    )
    dct_bands: int = _adversarial(
        "It moves only so many DCT coefficients of a block; 0: plain sign steps.", 0, low=0, high=64
    )
    lattice: bool = _adversarial(
        "It moves whole indices of the codec's blocks (the lattice attack); wants a codec that is one profile.",
        False,
    )
    beta: float = _adversarial("Weight of TRADES' divergence.", 6.0, low=0, high=1000)
    weight_eps: float = _adversarial(
        "Weights are moved against the step by this share of their norm first (AWP; the paper's .005); 0: not.",
        0.0,
        low=0,
        high=0.1,
    )
    teacher: str | None = _adversarial(
        "A training's folder, whose net's probabilities are labels (distillation).", None, values="FOLDER", words=TEXT
    )
    teacher_share: float = _adversarial("Of the loss, for those labels.", 1.0, low=0.01, high=1)

    @property
    def inner_step_8bit(self) -> float:
        """The inner attack's step in levels."""
        if self.step_8bit:
            return self.step_8bit
        return 1.25 * self.eps_8bit if self.method in ("fgsm-rs", "free") else 2.5 * self.eps_8bit / self.steps


@dataclass(frozen=True, eq=False, repr=False)
class PatchConfig:
    """`[patch]`: of the network `patchcert`, whose label is proven against one square patch, and of masked training."""

    patch_px: int = _patch(
        "Side of the patch that training proves against, or makes masks for.", 5, low=1, high=128, unit="pixels"
    )
    field: int = _patch("Side of the square that each region sees.", 8, low=3, high=65, unit="pixels")
    stride: int = _patch("From one region to the next: 1, 2, 4, 8 or 16.", 4, low=1, high=16, unit="pixels")
    margin_weight: float = _patch("Share of the proven margin in the loss; the rest is plain.", 0.5, low=0, high=1)


@dataclass(frozen=True, eq=False, repr=False)
class SmoothingConfig:
    """`[smoothing]`: the network becomes the base of a randomized smoothing."""

    smoothing: SmoothingMethod = _smoothing("How a base for certified noise is trained; see docs/smoothing.md.", "none")
    sigma: float = _smoothing("Standard deviation of the noise, pixels 0..1.", 0.25, low=0.005, high=2)
    noise_draws: int = _smoothing(
        "Noisy copies of an image in a step; 0: 1 (gaussian, smoothadv) or 4 (macer; the paper has 16).",
        0,
        low=0,
        high=64,
    )
    noise_eps_8bit: float = _smoothing(
        "smoothadv: L2 budget of the inner attack (the paper's 64, 127, 255 or 512 of 255).",
        127.0,
        low=1,
        high=4096,
        unit="levels",
    )
    noise_steps: int = _smoothing(
        "smoothadv: steps of the inner attack, of 2 budgets over the steps.", 2, low=1, high=100
    )
    noise_warmup: float = _smoothing("smoothadv: share of the steps in which the budget rises.", 0.1, low=0, high=1)
    macer_weight: float = _smoothing("macer: weight of the radius (lambda).", 12.0, low=0, high=1000)
    macer_scale: float = _smoothing(
        "macer: what logits are multiplied with for the radius (beta).", 16.0, low=0.1, high=1000
    )
    macer_margin: float = _smoothing(
        "macer: radii count up to this many sigmas, twice over (gamma).", 8.0, low=0.1, high=100
    )

    @property
    def copies(self) -> int:
        """Noisy copies of an image in a step."""
        return self.noise_draws or (4 if self.smoothing == "macer" else 1)


# A dataclass takes over the fields of its bases from the last to the first.
@dataclass(frozen=True)
class TrainConfig(
    PatchConfig,
    SmoothingConfig,
    AdversarialConfig,
    CodecConfig,
    AugmentConfig,
    ScheduleConfig,
    DataConfig,
    NetworkConfig,
):
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

        Defaults are left out, so that what later versions add does not change the name; of a default that changed,
        the first one.
        """
        import hashlib  # loads OpenSSL, and --help names nothing

        default = {**asdict(TrainConfig()), **_FIRST_DEFAULTS}
        places = ("data", "device", "exclude", "overlay")  # the images themselves are compared
        values = {name: value for name, value in asdict(self).items() if name not in places and value != default[name]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


#: Defaults that changed, as they were when the first configurations got their names.
_FIRST_DEFAULTS = {"flip": True}


def read_saved(path: Path) -> TrainConfig:
    """The configuration that a training wrote beside its model.

    Raises:
        InputError: it cannot be read, or is of another version.
    """
    from edgeguard.system.foreign import foreign_json, parsing, read_bounded

    raw = read_bounded(path, 1 << 20, "the configuration")
    with parsing(str(path)):
        values = foreign_json(raw)
        check_saved(keys_of(TrainConfig), values)
        return TrainConfig(**{**values, "ensemble": tuple(values.get("ensemble", ()))})


def file_keys() -> dict[str, Key]:
    """The tables of a configuration file, with their keys. No key stands in two of them."""
    return file_of(TrainConfig)


def read_config(path: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """A configuration from a file (or none), with values from flags in front of it (None is not given).

    The file is a .toml, or the config.json of a training.

    Relative paths of `data`, `start`, `network` and a codec's file are taken from where the command runs.

    Raises:
        InputError: unknown tables or keys, values out of bounds (with file and line), or no data.
    """
    config = TrainConfig(**_given(path, flags))
    if not config.data:
        raise InputError("training needs data: --data FOLDER, or [data] data in the configuration")
    return config


def names_any(path: Path | None, flags: Mapping[str, Any], keys: Iterable[str]) -> bool:
    """Whether the file or the flags say one of these keys, with whatever value; see `read_config`."""
    return not _given(path, flags).keys().isdisjoint(keys)


def _given(path: Path | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    from edgeguard.settings.reader import read_values  # --help reads no file

    if path is not None and path.suffix == ".json":
        values = asdict(read_saved(path))
    else:
        tables = {} if path is None else read_values(path, file_keys())
        values = {name: value for table in tables.values() for name, value in table.items()}
    for name, one in keys_of(TrainConfig).items():
        if flags.get(name) is not None:
            values[name] = checked(one, flags[name], f"--{name.replace('_', '-')}")
    return values
