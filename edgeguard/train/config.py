"""What a training is told: a frozen dataclass from a TOML file or from flags, every value within bounds."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError, ProfileError
from edgeguard.settings import Check, checked, number, one_of, read_settings, text

Precision = Literal["auto", "float32", "bfloat16"]
_MILLION = 1_000_000


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def _codec(value: Any) -> str:
    text(value)
    try:
        codec_kind(value)
    except (ProfileError, InputError) as error:
        raise ValueError(f"is no codec ({error})") from error
    return str(value)


def _codecs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        raise ValueError("is a list of at least two codecs")
    return tuple(_codec(name) for name in value)


def _profile_name(value: Any) -> str:
    name = _codec(value)
    if codec_kind(name).profile is None:
        raise ValueError("is the name of one profile")
    return name


def _key(table: str, check: Check, default: Any = None) -> Any:
    return field(default=default, metadata={"table": table, "check": check})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a training goes; each field is a key of a table of the TOML file.

    Attributes:
        network: a name of `networks.NETWORKS`, or a .pt2 program to fine-tune (batch statistics stay as they are).
        width: of the network's first layer, where it has one.
        size: side of the square input, pixels.
        start: a state_dict (.pt) to begin from.
        first_layer: the values of its weights: `float`, `ternary` or `binary` (see `few_values`).
        data: a folder or a .zip of class folders, with `train/` and `test/` above them or without.
        holdout: share of the images that is kept for testing where the data has no test part.
        keep: what is held in memory: decoded `pixels`, or the `jpeg` bytes, decoded for each batch.
        limit: use this many images of each part at most, 0 for all; classes stay balanced.
        bad_images_at_most: share of images that may be broken; they are counted, listed and left out.
        flip, shift, cutout: augmentation: mirrored half of the time, shifted by up to so many pixels, a grey square of
            so many pixels somewhere on it (DeVries and Taylor 2017).
        light: contrast and brightness change by up to this share.
        device: `auto` is a GPU where torch has one. The codec and the augmentation stay on the CPU.
        ema: decay of the moving average of the weights, which is what is tested and exported.
        codec: what images go through: `none`, a profile (`fd`, `jpeg:75`, FILE.toml), `jpeg:LOW..HIGH` (a quality
            drawn for each image), `PROFILE*LOW..HIGH` (a step multiplier drawn for each image), or `shield`
            (stochastic local quantisation).
        codec_share: share of the images that go through the codec; the others stay as they are.
        ensemble: codecs; the network is trained once behind each (instead of `codec`), and the members vote.
        applied: the profile that the images went through before they came here, which the export then names.
        method: of adversarial training: `none`, `fgsm-rs`, `pgd`, `trades`, `free`.
        eps_8bit, step_8bit, steps: its budget, step (0: 1.25 budgets for fgsm-rs, else 2.5 budgets over the steps) and
            number of steps (for `free`: replays of each batch).
        backward: the derivative of the codec that the inner attack sees; `drawn` is another one at each of its steps.
        dct_bands: let the inner attack move only so many DCT coefficients of a block (0: plain sign steps).
        beta: weight of TRADES' divergence.

    Example:
        >>> TrainConfig(data="photos/").codec
        'none'
    """

    network: str = _key("model", text, "resnet9")
    width: int = _key("model", number(4, 512, int), 32)
    size: int = _key("model", number(16, 256, int), 32)
    start: str | None = _key("model", text)
    first_layer: str = _key("model", one_of("float", "ternary", "binary"), "float")

    data: str = _key("data", text, "")
    holdout: float = _key("data", number(0.01, 0.9), 0.1)
    keep: str = _key("data", one_of("pixels", "jpeg"), "pixels")
    limit: int = _key("data", number(0, 100 * _MILLION, int), 0)
    bad_images_at_most: float = _key("data", number(0, 1), 0.01)

    epochs: int = _key("schedule", number(1, 10_000, int), 30)
    batch: int = _key("schedule", number(2, 8192, int), 256)
    learning_rate: float = _key("schedule", number(1e-6, 10), 0.2)
    warmup: float = _key("schedule", number(0, 0.9), 0.2)
    weight_decay: float = _key("schedule", number(0, 1), 5e-4)
    label_smoothing: float = _key("schedule", number(0, 0.5), 0.0)
    ema: float = _key("schedule", number(0, 0.99999), 0.995)
    seed: int = _key("schedule", number(0, 2**31 - 1, int), 0)
    precision: str = _key("schedule", one_of("auto", "float32", "bfloat16"), "auto")
    device: str = _key("schedule", one_of("auto", "cpu", "cuda"), "auto")

    flip: bool = _key("augment", _truth, True)
    shift: int = _key("augment", number(0, 64, int), 4)
    cutout: int = _key("augment", number(0, 128, int), 0)
    light: float = _key("augment", number(0, 1), 0.0)

    codec: str = _key("codec", _codec, "none")
    codec_share: float = _key("codec", number(0, 1), 1.0)
    ensemble: tuple[str, ...] = _key("codec", _codecs, ())
    applied: str | None = _key("codec", _profile_name)

    method: str = _key("adversarial", one_of("none", "fgsm-rs", "pgd", "trades", "free"), "none")
    eps_8bit: float = _key("adversarial", number(0.01, 255), 8.0)
    step_8bit: float = _key("adversarial", number(0, 255), 0.0)
    steps: int = _key("adversarial", number(1, 1000, int), 1)
    backward: str = _key(
        "adversarial", one_of("straight-through", "identity", "differentiable-jpeg", "drawn"), "straight-through"
    )
    dct_bands: int = _key("adversarial", number(0, 64, int), 0)
    beta: float = _key("adversarial", number(0, 1000), 6.0)

    @property
    def sha256(self) -> str:
        """Names the configuration, without where its images are and what computes: a checkpoint of another is refused.

        Defaults are left out, so that what later versions add does not change the name.
        """
        default = asdict(TrainConfig())
        places = ("data", "device")
        values = {name: value for name, value in asdict(self).items() if name not in places and value != default[name]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def inner_step_8bit(self) -> float:
        """The inner attack's step in levels."""
        if self.step_8bit:
            return self.step_8bit
        return 1.25 * self.eps_8bit if self.method in ("fgsm-rs", "free") else 2.5 * self.eps_8bit / self.steps


def read_config(path: Path | None, flags: Mapping[str, Any]) -> TrainConfig:
    """A configuration from a file (or none), with values from flags in front of it (None is not given).

    Relative paths of `data`, `start`, `network` and a codec's file are taken from where the command runs.

    Raises:
        InputError: unknown tables or keys, values out of bounds (with file and line), or no data.
    """
    tables: dict[str, dict[str, Check]] = {}
    for one in fields(TrainConfig):
        tables.setdefault(one.metadata["table"], {})[one.name] = one.metadata["check"]
    values = {} if path is None else read_settings(path, tables)
    for one in fields(TrainConfig):
        if flags.get(one.name) is not None:
            flag = f"--{one.name.replace('_', '-')}"
            values[one.name] = checked(one.metadata["check"], flags[one.name], flag)
    config = TrainConfig(**values)
    if not config.data:
        raise InputError("training needs data: --data FOLDER, or [data] data in the configuration")
    return config


@dataclass(frozen=True)
class CodecKind:
    """A codec's text, taken apart: what is drawn for each image.

    Attributes:
        kind: `none`, `profile`, `qualities`, `multipliers`, `shield`.
        profile: of `profile` and `multipliers`.
        low, high: bounds of what is drawn, both included.
    """

    kind: Literal["none", "profile", "qualities", "multipliers", "shield"]
    profile: GuardProfile | None = None
    low: float = 0
    high: float = 0


def codec_kind(name: str) -> CodecKind:
    """See `TrainConfig.codec`.

    Raises:
        InputError: bounds that are out of range.
        ProfileError: no such profile.

    Example:
        >>> codec_kind("jpeg:20..90").kind
        'qualities'
    """
    if name in ("none", "shield"):
        return CodecKind("none" if name == "none" else "shield")
    if match := re.fullmatch(r"jpeg:(\d{1,3})\.\.(\d{1,3})", name):
        low, high = int(match[1]), int(match[2])
        if not 1 <= low <= high <= 100:
            raise InputError("qualities go from 1 to 100, the lower one first")
        return CodecKind("qualities", None, low, high)
    if match := re.fullmatch(r"(.+)\*([\d.]{1,6})\.\.([\d.]{1,6})", name):
        try:
            low_m, high_m = float(match[2]), float(match[3])
        except ValueError:
            raise InputError("step multipliers are numbers, like fd*0.5..2") from None
        if not 0.1 <= low_m <= high_m <= 8:
            raise InputError("step multipliers go from 0.1 to 8, the lower one first")
        return CodecKind("multipliers", _profile(match[1]), low_m, high_m)
    return CodecKind("profile", _profile(name))


def _profile(name: str) -> GuardProfile:
    return GuardProfile.load(name) if name.endswith(".toml") else GuardProfile.preset(name)
