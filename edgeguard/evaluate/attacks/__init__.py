"""Attacks behind one small interface, by name."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluate.attacks.attack import Attack, Victim, is_wrong, whole_levels
from edgeguard.evaluate.attacks.bounds import wrong_number
from edgeguard.evaluate.attacks.carlini_wagner import CarliniWagnerL2, CarliniWagnerLinf
from edgeguard.evaluate.attacks.carlini_wagner_l0 import CarliniWagnerL0
from edgeguard.evaluate.attacks.dct_aware import DctPgd
from edgeguard.evaluate.attacks.deepfool import DeepFool
from edgeguard.evaluate.attacks.external import ArtAttack, AutoAttack
from edgeguard.evaluate.attacks.gradient import Bim, Fgsm, Pgd
from edgeguard.evaluate.attacks.lattice import Lattice
from edgeguard.evaluate.attacks.square import Square

__all__ = ["KINDS", "Attack", "Victim", "attack", "is_wrong", "whole_levels"]


def _hop_skip_jump(steps: int = 10, queries: int = 1000, eps_8bit: int | None = None) -> ArtAttack:
    """With a budget the smallest Linf change is looked for, with the paper's queries; else the smallest L2 change."""
    parameters: dict[str, Any] = {"max_iter": steps, "max_eval": queries, "init_eval": 10, "norm": 2, "verbose": False}
    if eps_8bit is not None:
        parameters |= {"norm": np.inf, "init_eval": min(100, queries)}
    return ArtAttack(
        name="hop-skip-jump", kind="HopSkipJump", parameters=parameters, gradient_free=True, within_8bit=eps_8bit
    )


def _art(
    attack: str,
    parameters: dict[str, Any] | None = None,
    targeted_next: bool = False,
    gradient_free: bool = False,
    eps_8bit: float | None = None,
) -> ArtAttack:
    given = {**(parameters or {}), "targeted": True} if targeted_next else parameters or {}
    return ArtAttack(
        name=attack, kind=attack, parameters=given, targeted_next=targeted_next, gradient_free=gradient_free,
        eps_8bit=eps_8bit,
    )  # fmt: skip


#: What an attack is made from, by the name that a protocol file gives as `kind`.
KINDS: dict[str, Callable[..., Attack]] = {
    "fgsm": Fgsm,
    "bim": Bim,
    "pgd": Pgd,
    "dct-pgd": DctPgd,
    "lattice": Lattice,
    "deepfool": DeepFool,
    "cw-l2": CarliniWagnerL2,
    "cw-linf": CarliniWagnerLinf,
    "cw-l0": CarliniWagnerL0,
    "autoattack": AutoAttack,
    "art": _art,
    "square": Square,
    "hop-skip-jump": _hop_skip_jump,
}


def attack(kind: str, parameters: dict[str, Any]) -> Attack:
    """An attack by its kind and parameters, as a protocol file states them.

    Raises:
        InputError: no such kind, a parameter that it does not have, or a number out of its bounds (see `bounds`).

    Example:
        >>> attack("pgd", {"eps_8bit": 4, "steps": 40}).name
        'pgd-40 eps 4'
    """
    if kind not in KINDS:
        raise InputError(f"there is no attack {kind!r}; known: {', '.join(KINDS)}")
    if (wrong := wrong_number(parameters)) is not None:
        raise InputError(f"the attack {kind}: {wrong[0]} {wrong[1]}, got {parameters[wrong[0]]!r}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in parameters.items()}
    try:
        return KINDS[kind](**values)
    except TypeError as error:
        known = [f.name for f in fields(cast(Any, KINDS[kind]))] if isinstance(KINDS[kind], type) else []
        hint = f"; it has {', '.join(known)}" if known else ""
        raise InputError(f"the attack {kind} cannot take {', '.join(parameters)}{hint}") from error
