"""How long an evaluation takes, before it starts: images x attacks x seconds that were measured on this machine."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import Attack, attack
from edgeguard.evaluate.attacks.external import ArtAttack, AutoAttack
from edgeguard.evaluate.attacks.lattice import Lattice
from edgeguard.evaluate.engine.smallest_change import searches_once
from edgeguard.evaluate.engine.targets import Target
from edgeguard.evaluate.protocol import AttackPlan, DefensePlan, Protocol

_STARTS_S = 15.0  # until every process has loaded torch and the model
_EOT_DRAWS = 20
#: Gradients of a restart of the lattice attack on an image that withstands it: 18 to 30 on photographs (`fd`, 1 level).
_USUAL_TURNS = 25
_UNDEFENDED_FALLS = 0.2  # of the steps, where an attack stops once the victim errs
_FAB_STEPS = 100
_CLASSES_AIMED_AT = 9  # by apgd-t and fab-t
_CLEAN_SHARE = 0.25  # of a limited time
_FEWEST_CLEAN = 20
USEFUL_IMAGES = 30  #: Attacked images, of which a share of a half is known within 34 points (95 %).


@dataclass(frozen=True)
class Costs:
    """Seconds on one core for one image behind each defense, by name: a query, and a query with its gradient."""

    query_s: dict[str, float]
    gradient_s: dict[str, float]


@dataclass(frozen=True)
class Part:
    """Work of one kind.

    Attributes:
        title: attack and defense.
        seconds: for one image on one core, at most.
        usual_seconds: for one that withstands the smallest budget and breaks at the next; None: the same.
        limit: images that it gets at most.
        is_clean: it takes all images, not only those that are attacked.
    """

    title: str
    seconds: float
    limit: int | None
    is_clean: bool
    usual_seconds: float | None = None


@dataclass(frozen=True)
class Forecast:
    """What is to be done, and how long it takes at most.

    Attributes:
        parts: in the order of the cells.
        workers: processes.
        batch: images of one unit of work.
    """

    parts: tuple[Part, ...]
    workers: int
    batch: int

    def seconds(self, attacked: int, clean: int) -> float:
        """For so many attacked images, and so many clean ones."""
        return _STARTS_S + sum(self.of(part, attacked, clean) for part in self.parts)

    def usual(self, attacked: int, clean: int) -> float:
        """The same where images break as they mostly do."""
        parts = (replace(p, seconds=p.seconds if p.usual_seconds is None else p.usual_seconds) for p in self.parts)
        return replace(self, parts=tuple(parts)).seconds(attacked, clean)

    def of(self, part: Part, attacked: int, clean: int) -> float:
        """Seconds for one part."""
        n = min(clean if part.is_clean else attacked, part.limit or 1 << 30)
        rounds = math.ceil(math.ceil(n / self.batch) / self.workers)  # a unit of work is not shared
        return part.seconds * min(n, rounds * self.batch)

    def fitting(self, seconds: float, attacked: int, clean: int, *, minutes: float) -> tuple[int, int]:
        """The most images, attacked and clean, with which it takes no longer; at most those that are given.

        Every attack and every defense gets the same images, so that rows stay comparable. `minutes` is what was given
        for everything, to be named.

        Raises:
            InputError: not even one image fits.
        """
        while clean > _FEWEST_CLEAN and self.seconds(0, clean) - _STARTS_S > _CLEAN_SHARE * seconds:
            clean = max(_FEWEST_CLEAN, int(0.8 * clean))
        low, high = 0, attacked
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.seconds(middle, clean) <= seconds else (low, middle - 1)
        if low == 0:
            useful = min(USEFUL_IMAGES, attacked)
            raise InputError(
                f"{minutes:g} minutes are not enough: one image takes about {duration(self.seconds(1, clean))}, "
                f"{useful} about {duration(self.seconds(useful, clean))}, with this protocol on this machine as it is "
                "now; give more --minutes, or a protocol of fewer steps"
            )
        return low, clean


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> [duration(s) for s in (8, 250, 9000)]
        ['8 s', '4 min', '2.5 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def forecast(protocol: Protocol, defenses: Sequence[DefensePlan], costs: Costs, workers: int) -> Forecast:
    """The parts of a protocol.

    Args:
        protocol: what is attacked how.
        defenses: those of it that the model has.
        costs: see `measured`.
        workers: processes.
    """
    parts = [Part(f"clean, {d.title}", _passes(d) * costs.query_s[d.name], d.limit, True) for d in defenses]
    if protocol.box == "gray":
        for plan in protocol.attacks:
            parts.append(_part(plan, DefensePlan("none"), costs, 1))
            for defense in defenses:
                if defense.when == "computed":
                    parts.append(replace(_part(plan, DefensePlan("none"), costs, 1), limit=defense.limit))
                score = _passes(defense) * costs.query_s[defense.name]
                parts.append(Part(f"{plan.name}, {defense.title}", score, defense.limit, False))
        return Forecast(tuple(parts), workers, protocol.batch)
    halving = protocol.budgets == "smallest"
    smallest = min((plan.eps_8bit for plan in protocol.attacks if plan.eps_8bit is not None), default=0.0)
    for defense in defenses:
        for plan, is_tried in zip(protocol.attacks, _tried(protocol), strict=True):
            part = _part(plan, defense, costs, len(plan.gradients))
            usual = _usual_seconds(part, plan, smallest) if halving else None
            parts.append(replace(part, seconds=part.seconds if is_tried else 0.0, usual_seconds=usual))
    return Forecast(tuple(parts), workers, 1 if halving else protocol.batch)  # halving takes images one by one


def _usual_seconds(part: Part, plan: AttackPlan, smallest: float) -> float:
    """The smallest budget is tried in vain, and the lattice attack gives up where turn after turn gains nothing."""
    if plan.eps_8bit != smallest:
        return 0.0
    made = attack(plan.kind, plan.parameters)
    share = min(_USUAL_TURNS / made.steps, 1.0) if isinstance(made, Lattice) else 1.0
    return share * part.seconds


def _tried(protocol: Protocol) -> list[bool]:
    """Of each attack whether an image can need it, beside those of the same name with other budgets.

    One search serves all budgets of some attacks. Where the smallest budget is looked for, so many of an attack's n
    budgets are tried as halving them takes; the larger of them are counted.
    """
    left = Counter((plan.name, plan.kind) for plan in protocol.attacks)
    for plan in {(plan.name, plan.kind): plan for plan in protocol.attacks}.values():
        budgets = left[plan.name, plan.kind]
        halvings = budgets.bit_length() if protocol.budgets == "smallest" else budgets
        left[plan.name, plan.kind] = 1 if searches_once(plan) else halvings
    found = []
    for plan in protocol.attacks:
        found.append(left[plan.name, plan.kind] > 0)
        left[plan.name, plan.kind] -= 1
    return found


def calls(plan: AttackPlan) -> tuple[int, int]:
    """How often an attack asks for a gradient, and how often for outputs alone, for one image at most."""
    return asked(attack(plan.kind, plan.parameters))


def asked(made: Attack) -> tuple[int, int]:
    """The same of an attack itself."""
    steps = int(getattr(made, "steps", 1))
    if isinstance(made, AutoAttack):
        each = {
            "apgd-ce": steps, "apgd-dlr": steps, "apgd-t": steps * _CLASSES_AIMED_AT,
            "fab-t": _FAB_STEPS * _CLASSES_AIMED_AT,
        }  # fmt: skip
        gradients = made.restarts * sum(each.get(part, 0) for part in made.parts)
        return gradients, made.queries if "square" in made.parts else 0
    if isinstance(made, ArtAttack):
        rounds = int(made.parameters.get("max_iter", 100))
        if made.gradient_free:
            first, most = int(made.parameters.get("init_eval", 100)), int(made.parameters.get("max_eval", 10_000))
            return 0, int(sum(min(first * math.sqrt(k), most) + 25 for k in range(1, rounds + 1))) + 100
        return rounds, 0
    if made.gradient_free:
        return 0, int(getattr(made, "queries", 1000))
    times = [int(getattr(made, name, 1)) for name in ("restarts", "searches", "rounds", "candidates")]
    return steps * math.prod(times), 0


def measured(target: Target, defenses: Sequence[DefensePlan], path: str, *, gradients: bool) -> Costs:
    """Time one image behind each defense, on one core.

    Args:
        target: what is attacked.
        defenses: of the protocol.
        path: of an image.
        gradients: whether the twin can be asked.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        levels = to_levels(target.read(path)[None])
        query: dict[str, float] = {}
        gradient: dict[str, float] = {}
        for name in dict.fromkeys(["none", *(defense.name for defense in defenses)]):
            try:
                query[name] = _timed(target, name, levels, gradient_free=True)
                gradient[name] = _timed(target, name, levels, gradient_free=False) if gradients else 0.0
            except InputError:  # it learns from pictures that are not chosen yet
                query[name], gradient[name] = query["none"], gradient["none"]
        return Costs(query, gradient)
    finally:
        torch.set_num_threads(threads)


def _timed(target: Target, name: str, levels: torch.Tensor, *, gradient_free: bool) -> float:
    """Of two runs the second: the first one loads things."""
    victim = target.victim(name, "straight-through", gradient_free=gradient_free)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        if gradient_free:
            victim(levels)
        else:
            asked = levels.clone().requires_grad_(True)
            torch.autograd.grad(victim(asked).sum(), asked)
        seconds = time.perf_counter() - began
    draws = _EOT_DRAWS if target.defense(name).randomized and not gradient_free else 1
    return seconds * draws


def _part(plan: AttackPlan, defense: DefensePlan, costs: Costs, tries: int) -> Part:
    gradients, queries = calls(plan)
    through = "none" if plan.transfer else defense.name
    if defense.name == "none" or plan.transfer:
        tries = 1
        gradients = math.ceil(gradients * (_UNDEFENDED_FALLS if plan.parameters.get("early_stop") else 1))
    made = gradients * costs.gradient_s[through] + queries * costs.query_s[through]
    score = _passes(defense) * costs.query_s[defense.name]
    return Part(f"{plan.name}, {defense.title}", tries * (made + score), defense.limit, False)


def _passes(defense: DefensePlan) -> int:
    return max(defense.passes, 1)
