"""Protocols: what is attacked how, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta, ValidationError, convert

from edgeguard.dct.profile import resolve_profile
from edgeguard.differentiable.surrogates import BACKWARDS, Backward
from edgeguard.errors import InputError, ProfileError
from edgeguard.evaluate.attacks import KINDS, attack
from edgeguard.evaluate.attacks.bounds import WHOLE_LEVELS, wrong_number
from edgeguard.evaluate.defenses.registry import NEED_LIBRARY, defense_by_name
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard.settings.check import shown
from edgeguard.settings.declare import TEXT, Key, key, keys_of, version
from edgeguard.settings.lines import line_of
from edgeguard.settings.reader import check_document, parse_toml, place
from edgeguard.system.foreign import LARGEST_SETTINGS, read_bounded

SCHEMA = 1
BUILT_IN = (
    "feature-distillation-table1",
    "feature-distillation-table1-frame",
    "feature-distillation-table1-cw0",
    "feature-distillation-table2",
    "feature-distillation-figure4",
    "lossy-codecs-lsb",
    "magnet-mnist",
    "guard-audit",
    "quick",
    "detector-audit",
)

#: Whose gradient the attacker has: the undefended model's, or that of the model behind the defence.
Box = Literal["gray", "white"]
Place = Literal["input", "frame", "contract"]
#: Where the perturbation is added: to the model's input, after pass 1 (made for the raw image and `added`, or made for
#: what pass 1 left, `computed`), or before pass 1 of two.
When = Literal["once", "added", "computed", "before"]
#: What an attack wants of a detector; see `detectors.goals`.
Goal = Literal["vanish", "mislabel", "create"]
Task = Literal["classify", "detect"]
#: Every attack at every budget, or each image's smallest broken budget.
Budgets = Literal["each", "smallest"]
_THREATS: dict[When, str] = {"once": "input", "added": "transit", "computed": "transit", "before": "scene"}

_MILLION = 1_000_000
_Level = Annotated[int, Meta(ge=1, le=255)]
# Whole numbers stay whole: they name the results that a folder already has.
_Percent = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]


@dataclass(frozen=True)
class AttackPlan:
    """One attack of a protocol.

    Attributes:
        name: for tables.
        kind: of `attacks.KINDS`.
        parameters: its own; budgets in 8-bit levels.
        gradients: derivatives of the defense that it is run with (white box); the worst counts.
        transfer: made on the undefended model even in a white-box protocol.
        goal: what it wants of a detector; None for classifiers.
        target: the output index that a classifier shall say (`--target`); None for any wrong one.
    """

    name: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    gradients: tuple[Backward, ...] = ("straight-through",)
    transfer: bool = False
    goal: Goal | None = None
    target: int | None = None

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
    """One defense of a protocol: its name (`contract`: the model's own guard), and when the attack comes."""

    name: str = key("The defense: contract is the model's own guard, none is none.", words=TEXT)
    when: When = key("When the attack comes.", "once")
    limit: int | None = key(
        "How many images it gets at most, for slow ones.", None, low=1, high=_MILLION, unit="images"
    )

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
class AttackTable:
    """`[[attack]]`: one attack, or one for each of its budgets."""

    name: str | None = key("For tables; without kind, the attack.", None, words=TEXT)
    kind: str | None = key("The attack, where it is not the name.", None, words=TEXT)
    eps_8bit: _Level | Annotated[list[_Level], Meta(min_length=1)] | None = key(
        "Budget; a list is one attack each.",
        None,
        wants=f"{WHOLE_LEVELS}, or a list of them",
        values="1 to 255 levels, whole, or a list",
    )
    backwards: tuple[Backward, ...] = key(
        "Derivatives of the defense that it is run with (white box); the worst counts.",
        ("straight-through",),
        values=f"list of {', '.join(BACKWARDS)}",
        wants=f"wants a list of {', '.join(BACKWARDS)}",
    )
    transfer: bool = key("Made on the undefended model even in a white-box protocol.", False)
    goal: Literal["misclassify", "vanish", "mislabel", "create"] = key(
        "What it wants: of a classifier a wrong class, of a detector one of the others.", "misclassify"
    )
    parameters: dict[str, Any] = key("Those of the attack's kind.", factory=dict, rest=True)


@dataclass(frozen=True, kw_only=True)
class ProtocolFile:
    """The file of a protocol; `Protocol` is what is made of it."""

    schema: Literal[1] = version(SCHEMA)
    name: str = key("The protocol's name.", words=TEXT)
    title: str = key("For the report.", words=TEXT)
    task: Task = key("What the model does; attacks on a detector have a goal.", "classify")
    box: Box = key("gray: attacks are made on the undefended model; white: through the defense.")
    place: Place = key(
        "Where the perturbation is added: the model's input, the frame, or where the model's guard stands."
    )
    images: int = key(
        "How many are attacked: the first that the undefended model gets right.", 100, low=1, high=_MILLION
    )
    seed: int = key("Of everything random.", 0, low=0, high=2**31 - 1)
    batch: int = key("Images that are attacked together.", 10, low=1, high=1000, unit="images")
    budgets: Budgets = key(
        "each: every attack at every budget; smallest: the smallest that breaks an image, each attack on what is left.",
        "each",
    )
    undefended_at_most: float = key(
        "An attack that leaves the undefended model above this accuracy counts as capped.", 0.15, low=0, high=1
    )
    minutes: float | None = key(
        "Time that it may take: as many images as fit are attacked, all by every attack.",
        None,
        low=0.1,
        high=100_000,
        unit="minutes",
    )
    fidelity: bool = key("Measure the answer's confidence, and PSNR and MS-SSIM of what the model is shown.", False)
    caveat: str = key("What it cannot tell, for terminal and report.", "")
    paper_source: str = key("Where the published figures stand.", "")
    paper: dict[str, dict[str, _Percent]] = key(
        "Published figures to stand beside, by attack and defense title.",
        factory=dict,
        wants="wants a table for each attack, [paper.ATTACK], of figures in percent",
        values="[paper.ATTACK] tables, 0 to 100 %",
    )
    attack: tuple[AttackTable, ...] = key("What attacks.")
    defence: tuple[DefensePlan, ...] = key("What defends.")


@dataclass(frozen=True)
class Protocol:
    """What an evaluation does; the attributes are the keys of `ProtocolFile`, the attacks one for each budget."""

    name: str
    title: str
    box: Box
    place: Place
    attacks: tuple[AttackPlan, ...]
    defenses: tuple[DefensePlan, ...]
    task: Task = "classify"
    images: int = 100
    seed: int = 0
    batch: int = 10
    budgets: Budgets = "each"
    undefended_at_most: float = 0.15
    minutes: float | None = None
    fidelity: bool = False
    caveat: str = ""
    paper_source: str = ""
    paper: dict[str, dict[str, float]] = field(default_factory=dict)


def file_keys() -> dict[str, Key]:
    """The keys of a protocol's file, with those of its arrays of tables."""
    return keys_of(ProtocolFile)


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
        return parse_protocol(read_bounded(path, LARGEST_SETTINGS, "the protocol").decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 text") from error


def parse_protocol(text: str, origin: str) -> Protocol:
    """See `load_protocol`; `origin` names the file in errors."""
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise InputError(f"{origin}: {error}") from error
    values = check_document(data, file_keys(), origin, text)
    del values["schema"]
    tables = [AttackTable(**entry) for entry in values.pop("attack")]
    attacks = tuple(plan for number, table in enumerate(tables) for plan in _attacks(table, origin, text, number))
    unbounded = [plan.name for plan in attacks if plan.eps_8bit is None]
    if values.get("budgets") == "smallest" and (unbounded or values["box"] == "gray"):
        why = f"the attack {unbounded[0]} has no eps_8bit" if unbounded else 'box is "gray"'
        raise InputError(f'{place(origin, line_of(text, ("budgets",)))}budgets = "smallest" looks for a budget: {why}')
    if values.get("fidelity") and values["box"] == "white":
        where = place(origin, line_of(text, ("fidelity",)))
        raise InputError(f'{where}fidelity is for box = "gray": of a worst case there is no one picture')
    for number, table in enumerate(tables):
        if (table.goal == "misclassify") != (values.get("task", "classify") == "classify"):
            wants = 'vanish, mislabel or create with task = "detect", misclassify without'
            raise InputError(f"{place(origin, line_of(text, ('attack', number)))}goal is {wants}, got {table.goal!r}")
    is_detector = values.get("task") == "detect"
    limited = values.get("minutes") is not None or any(table.transfer for table in tables)
    if is_detector and (values["box"] != "white" or values.get("budgets") == "smallest" or limited):
        raise InputError(
            f'{place(origin, line_of(text, ("task",)))}task = "detect" wants box = "white" and budgets = "each", and '
            "neither minutes nor transfer"
        )
    defenses = tuple(DefensePlan(**entry) for entry in values.pop("defence"))
    for number, defense in enumerate(defenses):
        try:
            if is_detector:
                _check_for_detectors(defense)
            elif defense.name not in ("contract", *NEED_LIBRARY):
                defense_by_name(defense.name)
        except (InputError, OSError) as error:
            raise InputError(f"{place(origin, line_of(text, ('defence', number, 'name')))}name: {error}") from error
    return Protocol(attacks=attacks, defenses=defenses, **values)


def _attacks(table: AttackTable, origin: str, text: str, number: int) -> list[AttackPlan]:
    """One plan for each budget; errors begin with the place of `[[attack]]` number `number`, or of its key."""

    def where(*key: str) -> str:
        return place(origin, line_of(text, ("attack", number, *key)))

    kind = table.kind or table.name or ""
    plans = []
    for eps in table.eps_8bit if isinstance(table.eps_8bit, list) else [table.eps_8bit]:
        parameters = table.parameters if eps is None else {**table.parameters, "eps_8bit": eps}
        _check_types(kind, parameters, where)
        if (wrong := wrong_number(parameters)) is not None:
            raise InputError(f"{where(wrong[0])}{wrong[0]} {wrong[1]}, got {shown(parameters[wrong[0]])}")
        try:
            attack(kind, parameters)
        except InputError as error:
            raise InputError(f"{where(*_unknown(kind, parameters))}{error}") from error
        plans.append(
            AttackPlan(
                table.name or kind,
                kind,
                parameters,
                table.backwards,
                table.transfer,
                None if table.goal == "misclassify" else table.goal,
            )
        )
    return plans


def _check_for_detectors(defense: DefensePlan) -> None:
    """In front of detectors stand guards: `none`, `contract`, a profile, or a patch guard.

    Raises:
        InputError: another defence, or an attacker who comes where there are no two passes.
    """
    known = ("none", "contract", *PATCH_GUARDS)
    try:
        if defense.name not in known:
            resolve_profile(defense.name)
    except ProfileError as error:
        others = ", ".join(known)
        raise InputError(f"in front of a detector stand {others} or a guard profile, not {defense.name!r}") from error
    if defense.when in ("added", "before") or defense.limit is not None:
        raise InputError('in front of a detector when is "once" or "computed", and there is no limit')


def _unknown(kind: str, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The first parameter that a kind does not have, to point at its line."""
    known = get_type_hints(KINDS[kind]) if kind in KINDS else {}
    return tuple(name for name in parameters if known and name not in known)[:1]


def _check_types(kind: str, parameters: Mapping[str, Any], where: Callable[[str], str]) -> None:
    """Parameters against the types that the attack declares; unknown kinds and names are the attack's to refuse."""
    hints = get_type_hints(KINDS[kind]) if kind in KINDS else {}
    for name, value in parameters.items():
        try:
            convert(value, hints.get(name, Any))
        except ValidationError as error:
            raise InputError(f"{where(name)}the attack {kind} cannot take {name} = {shown(value)}: {error}") from error
