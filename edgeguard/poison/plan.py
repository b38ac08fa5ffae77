"""What `poison evaluate` measures: a TOML file of a training, a poison, and the arms to compare."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from edgeguard.errors import InputError
from edgeguard.poison.make import METHODS, Method, PoisonConfig, check_config
from edgeguard.settings.declare import Key, file_of, key, keys_of
from edgeguard.settings.reader import read_values
from edgeguard.train.codec_kind import codec_kind
from edgeguard.train.config import AugmentConfig, DataConfig, GradientMode, NetworkConfig, ScheduleConfig, TrainConfig

Kind = Literal["clean", "poisoned", "mixup", "train", "both", "clean-train", "clean-both", "adaptive", "adaptive-drawn"]
_ALONE, _WITH_CODEC = ("clean", "poisoned", "mixup"), (
    "train", "both", "clean-train", "clean-both", "adaptive", "adaptive-drawn",
)  # fmt: skip
_poison = partial(key, table="poison")


@dataclass(frozen=True)
class Arm:
    """One way to train on the poisoned images, or a control on the clean ones.

    Attributes:
        name: as it stands in the plan.
        kind: what is done.
        codec: that images go through; None for none.
    """

    name: str
    kind: Kind
    codec: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether it trains on the images as they were."""
        return self.kind in ("clean", "clean-train", "clean-both")

    @property
    def at_test(self) -> bool:
        """Whether test images go through the codec as well."""
        return self.codec is not None and self.kind not in ("train", "clean-train")

    @property
    def gradient(self) -> GradientMode | None:
        """The codec's derivative that the attacker uses; None where the attacker does not know of it."""
        modes: dict[str, GradientMode] = {"adaptive": "straight-through", "adaptive-drawn": "drawn"}
        return modes.get(self.kind)


def arm_of(text: str) -> Arm:
    """An arm by name: clean, poisoned, mixup; train:CODEC (training images only), both:CODEC (training and test);
    clean-train:CODEC, clean-both:CODEC (controls); adaptive:CODEC, adaptive-drawn:CODEC (made through the codec).

    Raises:
        InputError: no such arm or codec.

    Example:
        >>> arm_of("both:jpeg:50").codec
        'jpeg:50'
    """
    from edgeguard.poison.codecs import check_codec

    kind, _, codec = text.partition(":")
    if kind in _ALONE and not codec:
        return Arm(text, cast(Kind, kind))
    if kind not in _WITH_CODEC or not codec:
        raise InputError(
            f"there is no arm {text!r}; known: {', '.join((*_ALONE, *(f'{k}:CODEC' for k in _WITH_CODEC)))}"
        )
    check_codec(codec)
    if kind.startswith("adaptive") and ((":" in codec and ".." in codec) or codec_kind(codec).profile is None):
        raise InputError(f"{text}: a poison is made through one profile, such as jpeg:50 or fd")
    return Arm(text, cast(Kind, kind), codec)


def _arm_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) != len(value):
        raise ValueError("is a list of different arms")
    for text in value:
        try:
            arm_of(text)
        except InputError as error:
            raise ValueError(f"has an arm that cannot be: {error}") from error
    return value


@dataclass(frozen=True, eq=False, repr=False)
class PoisonTable:
    """`[poison]`."""

    method: Method | Literal["given"] = _poison(
        "How it is made; given: somebody else made it, the files are those of [data] overlay.", "gradient-matching"
    )
    budget: float | None = _poison("Share of the training images; without: the method's.", None, low=0, high=1)
    poison_eps: float = _poison("How far a pixel may move.", 16.0, low=1, high=255, unit="levels")
    steps: int = _poison("Of gradient-matching; rounds of em-class.", 250, low=1, high=100_000)
    restarts: int = _poison("Of gradient-matching.", 1, low=1, high=100)
    targets: int = _poison("So many poisons, each with a target and a class drawn from the seed.", 1, low=1, high=1000)
    victims: int = _poison("Trainings of each arm and target, each with a seed of its own.", 1, low=1, high=1000)
    arms: tuple[str, ...] = _poison(
        "What is compared.",
        ("clean", "poisoned"),
        values="clean, poisoned, mixup, train:CODEC, both:CODEC, clean-train:CODEC, clean-both:CODEC, adaptive:CODEC, "
        "adaptive-drawn:CODEC",
        wants="is a list of arms",
        check=_arm_names,
        words=None,
    )


@dataclass(frozen=True)
class Plan(PoisonTable, AugmentConfig, ScheduleConfig, DataConfig, NetworkConfig):
    """Everything that decides an evaluation; the keys of all tables side by side."""

    @property
    def training(self) -> TrainConfig:
        """How every network is trained."""
        kinds = (AugmentConfig, ScheduleConfig, DataConfig, NetworkConfig)
        return TrainConfig(**{name: getattr(self, name) for kind in kinds for name in keys_of(kind)})

    @property
    def clean(self) -> DataConfig:
        """The images without a poison that is given."""
        data = self.training.part(DataConfig)
        return replace(data, overlay=None) if self.method == "given" else data

    def poison(self, **drawn: str | int | None) -> PoisonConfig:
        """One of its poisons."""
        values: dict[str, Any] = {
            "method": self.method, "budget": self.budget, "eps_8bit": self.poison_eps, "steps": self.steps,
            "restarts": self.restarts, **drawn,
        }  # fmt: skip
        return PoisonConfig(**values)


def plan_keys() -> dict[str, Key]:
    """The tables of a plan, with their keys."""
    return file_of(Plan)


def read_plan(path: Path) -> Plan:
    """A plan from its file.

    Raises:
        InputError: keys or values that cannot be, with file and line, or no data.
    """
    tables = read_values(path, plan_keys())
    plan = Plan(**{name: value for table in tables.values() for name, value in table.items()})
    if not plan.data:
        raise InputError(f"{path}: a plan needs [data] data")
    if plan.start is not None:
        raise InputError(f"{path}: [model] start: every network of a plan begins with new weights; leave it out")
    if plan.method not in (*METHODS, "given"):
        raise InputError(f"{path}: no method {plan.method!r}")
    if plan.method == "pacd":
        raise InputError(
            f"{path}: pacd is measured by certified radii, which a plan does not compute: make it with `poison make`, "
            "train with and without it, and `evaluate certify --smoothing` (docs/poisoning.md)"
        )
    if plan.method not in ("gradient-matching", "trigger") and plan.targets != 1:
        raise InputError(f"{path}: {plan.method} has no targets: leave `targets` out")
    if any(arm_of(name).gradient for name in plan.arms) and plan.method not in ("gradient-matching", "em-class"):
        raise InputError(f"{path}: {plan.method} is made without a network: it has no adaptive arm")
    if plan.method == "given":
        if plan.overlay is None:
            raise InputError(f'{path}: the poison "given" is a folder: name it in [data] overlay')
        return plan
    named = {"gradient-matching": {"target": "x", "wished": "x"}, "trigger": {"wished": "x"}}
    check_config(plan.poison(**named.get(plan.method, {})))
    return plan
