"""Protocols: what is attacked how, as data."""

import json
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args

from edgeguard.differentiable.surrogates import BACKWARDS, Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import attack

SCHEMA = 1
BUILT_IN = (
    "feature-distillation-table1",
    "feature-distillation-table1-frame",
    "feature-distillation-table1-cw0",
    "feature-distillation-table2",
    "guard-audit",
)

#: Whose gradient the attacker has: the undefended model's, or that of the model behind the defence.
Box = Literal["gray", "white"]
#: Where the perturbation is added: to the model's input, after pass 1 (made for the raw image and `added`, or made for
#: what pass 1 left, `computed`), or before pass 1 of two.
When = Literal["once", "added", "computed", "before"]
_THREATS: dict[When, str] = {"once": "input", "added": "transit", "computed": "transit", "before": "scene"}


@dataclass(frozen=True)
class AttackPlan:
    """One attack of a protocol.

    Attributes:
        name: for tables.
        kind: of `attacks.KINDS`.
        parameters: its own; budgets in 8-bit levels.
        gradients: derivatives of the defense that it is run with (white box); the worst counts.
        transfer: made on the undefended model even in a white-box protocol.
    """

    name: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    gradients: tuple[Backward, ...] = ("straight-through",)
    transfer: bool = False

    @property
    def eps_8bit(self) -> float | None:
        """Its budget, where it has one."""
        eps = self.parameters.get("eps_8bit")
        return None if eps is None else float(eps)

    @property
    def gradient_free(self) -> bool:
        """True when it only asks the deployed file, whatever the protocol calls it."""
        return attack(self.kind, self.parameters).gradient_free


@dataclass(frozen=True)
class DefensePlan:
    """One defense of a protocol: its name (`contract`: the model's own guard), and when the attack comes.

    `limit` is the number of images that slow ones get.
    """

    name: str
    when: When = "once"
    limit: int | None = None

    @property
    def threat(self) -> str:
        """The threat model's name."""
        return _THREATS[self.when]

    @property
    def passes(self) -> int:
        """How often the defence is applied."""
        return 0 if self.name == "none" else 1 if self.when == "once" else 2

    @property
    def title(self) -> str:
        """For tables."""
        return self.name if self.when == "once" else f"{self.name}, two passes ({self.when})"


@dataclass(frozen=True)
class Protocol:
    """What an evaluation does.

    Attributes:
        place: `input` (the model's size), `frame`, or `contract` (where the model's guard stands).
        images: how many images are attacked: the first that the undefended model gets right.
        undefended_at_most: an attack that leaves the undefended model above this accuracy counts as capped.
        paper: published figures in percent, by attack and defence title.
    """

    name: str
    title: str
    box: Box
    place: Literal["input", "frame", "contract"]
    attacks: tuple[AttackPlan, ...]
    defenses: tuple[DefensePlan, ...]
    images: int = 100
    seed: int = 0
    batch: int = 10
    undefended_at_most: float = 0.15
    paper_source: str = ""
    paper: dict[str, dict[str, float]] = field(default_factory=dict)


def load_protocol(name: str) -> Protocol:
    """A built-in protocol by name, or one from a .toml file.

    Raises:
        InputError: no such protocol, not TOML, a key that is unknown or a value that is out of range.
    """
    if name in BUILT_IN:
        text = resources.files("edgeguard.evaluate").joinpath(f"protocols/{name}.toml").read_text("utf-8")
        return parse_protocol(text, name)
    path = Path(name)
    if path.suffix != ".toml":
        raise InputError(f"there is no protocol {name!r}; known: {', '.join(BUILT_IN)}, or a .toml file")
    try:
        return parse_protocol(path.read_text("utf-8"), name)
    except OSError as error:
        raise InputError(f"cannot read the protocol {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 text") from error


def parse_protocol(text: str, origin: str) -> Protocol:
    """See `load_protocol`; `origin` names the file in errors."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin}: {error}") from error
    if data.pop("schema", None) != SCHEMA:
        raise InputError(f"{origin}: wanted schema = {SCHEMA}")
    attacks = tuple(plan for entry in _entries(data, "attack", origin) for plan in _attacks(entry, origin))
    defenses = tuple(_defense(entry, origin) for entry in _entries(data, "defence", origin))
    paper = data.pop("paper", {})
    _known(data, set(Protocol.__dataclass_fields__) - {"attacks", "defenses", "paper"}, origin, "protocol")
    try:
        protocol = Protocol(attacks=attacks, defenses=defenses, paper=paper, **data)
    except TypeError as error:
        raise InputError(f"{origin}: {str(error).removeprefix('Protocol.__init__() ')}") from error
    _check(protocol, origin)
    return protocol


def _entries(data: dict[str, Any], key: str, origin: str) -> list[dict[str, Any]]:
    entries = data.pop(key, [])
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{origin}: a protocol needs at least one [[{key}]]")
    return cast(list[dict[str, Any]], entries)


def _attacks(entry: dict[str, Any], origin: str) -> list[AttackPlan]:
    """One plan for each budget: `eps_8bit` may be a list."""
    values = dict(entry)
    kind = str(values.pop("kind", values.get("name", "")))
    name = str(values.pop("name", kind))
    gradients = tuple(values.pop("backwards", ["straight-through"]))
    if wrong := [b for b in gradients if b not in BACKWARDS]:
        raise InputError(f"{origin}: the attack {name} has backward {wrong[0]!r}; known: {', '.join(BACKWARDS)}")
    transfer = bool(values.pop("transfer", False))
    budgets = values.pop("eps_8bit", None)
    plans = []
    for eps in budgets if isinstance(budgets, list) else [budgets]:
        parameters = values if eps is None else {**values, "eps_8bit": eps}
        try:
            attack(kind, parameters)
        except InputError as error:
            raise InputError(f"{origin}: {error}") from error
        plans.append(AttackPlan(name, kind, parameters, cast(tuple[Backward, ...], gradients), transfer))
    return plans


def _defense(entry: dict[str, Any], origin: str) -> DefensePlan:
    _known(entry, set(DefensePlan.__dataclass_fields__), origin, "defence")
    if "name" not in entry or entry.get("when", "once") not in get_args(When):
        raise InputError(f"{origin}: a [[defence]] wants a name, and when = {' | '.join(get_args(When))}")
    return DefensePlan(**entry)


def _known(data: dict[str, Any], known: set[str], origin: str, what: str) -> None:
    if unknown := sorted(set(data) - known):
        raise InputError(f"{origin}: unknown key {unknown[0]!r} in the {what}; known: {', '.join(sorted(known))}")


def _check(protocol: Protocol, origin: str) -> None:
    good = {
        "box": protocol.box in get_args(Box),
        "place": protocol.place in ("input", "frame", "contract"),
        "images": isinstance(protocol.images, int) and protocol.images >= 1,
        "batch": isinstance(protocol.batch, int) and 1 <= protocol.batch <= 1000,
        "undefended_at_most": 0 <= protocol.undefended_at_most <= 1,
    }
    for key, ok in good.items():
        if not ok:
            raise InputError(f"{origin}: {key} = {json.dumps(getattr(protocol, key))} is out of range")
