"""Units of work of a detector's audit: one attack on one picture behind one defence."""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.datasets.objects import TrueBox
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.profile import GuardProfile, resolve_profile
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.detectors.candidates import DetectorNetwork
from edgeguard.evaluate.detectors.deployed import AskingVictim, DeployedDetector, on_input
from edgeguard.evaluate.detectors.goals import Aim, GoalVictim
from edgeguard.evaluate.detectors.twin import detector_twin
from edgeguard.evaluate.engine.store import AdversarialImages
from edgeguard.evaluate.protocol import AttackPlan
from edgeguard.evaluate.twin import Twin
from edgeguard.model import Model, load_model
from edgeguard.model.contract import Contract, ContractGuard, Place
from edgeguard.patchguard import PATCH_GUARDS, PatchGuard, patch_guard
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.located import located

Frame = NDArray[np.uint8]
#: once: the attacker stands before the only pass; computed: between pass 1 and pass 2.
DetectorWhen = Literal["once", "computed"]


@dataclass(frozen=True)
class Pictured:
    """A picture file with its objects and the hash of its bytes."""

    path: str
    sha256: str
    boxes: tuple[TrueBox, ...]


@dataclass(frozen=True, kw_only=True)
class DetectorJob:
    """Attack one picture.

    Attributes:
        model, model_sha256: the deployed file.
        picture: see there.
        plan: the attack; its goal is set.
        defense: `none`, `contract`, or a profile.
        guard_sha256: of that profile; empty without.
        when: see `DetectorWhen`.
        backward: derivative of the defence.
        target: the class that shall be said, as the model's labels count; None for any wrong one.
        classes: how many the model has, the background not counted.
        seed: of everything random.
    """

    model: str
    model_sha256: str
    picture: Pictured
    plan: AttackPlan
    defense: str
    guard_sha256: str
    when: DetectorWhen
    backward: Backward
    target: int | None
    classes: int
    seed: int

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads."""
        return self.model, self.picture.path

    @property
    def key(self) -> str:
        """Names the result: the SHA-256 of everything that it depends on, paths left out."""
        described = {
            "version": 1, "task": "detect", "model": self.model_sha256, "guard": self.guard_sha256,
            "attack": [self.plan.kind, self.plan.goal, self.plan.parameters],
            "picture": [self.picture.sha256, [[b.index, *b.corners, b.is_counted] for b in self.picture.boxes]],
            "through": [self.when, self.backward], "target": self.target, "seed": self.seed,
        }  # fmt: skip
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def run_detector_job(job: DetectorJob) -> AdversarialImages:
    """The changed frame, as it arrives at the (second) pass."""
    began = time.perf_counter()
    raw = decode_whole(read_bounded(located(job.picture.path), LARGEST_PICTURE, "the picture"))
    guards = guards_of(loaded(job.model).contract, job.defense)
    frame = arriving(loaded(job.model), guards, raw, job.when)
    aim = aim_at(job, (raw.shape[1], raw.shape[0]))
    if not len(aim.boxes) and aim.goal != "create":
        return AdversarialImages((frame,), time.perf_counter() - began)
    made = attack(job.plan.kind, job.plan.parameters)
    victim: torch.nn.Module
    if made.gradient_free:
        first = int(loaded(job.model).contract.background)
        deployed = DeployedDetector(loaded(job.model), profile=guards[0], patch_guard=guards[1])
        pass1: Literal["none", "sensor"] = "sensor" if job.when == "computed" else "none"
        victim = AskingVictim(deployed, aim, classes=job.classes, first=first, pass1=pass1)
    else:
        victim = gradient_victim(job, aim, guards[0])
    levels = to_levels(frame[None]).contiguous(memory_format=torch.channels_last)
    changed = to_frames(made(victim, levels, torch.zeros(1, dtype=torch.int64), seed=job.seed))[0]
    return AdversarialImages((changed,), time.perf_counter() - began)


def gradient_victim(job: DetectorJob, aim: Aim, profile: GuardProfile | None) -> GoalVictim:
    """The twin behind the defence, which works where the contract's guard does, with the attacker's aim."""
    rebuilt = _twin(job.model)
    contract = rebuilt.contract
    place: Place = contract.guard.place if contract.guard.place in ("frame", "input") else "frame"
    guard = ContractGuard() if profile is None else ContractGuard(profile, place)
    guarded = Twin(rebuilt.network, replace(contract, guard=guard), "frame", job.backward)
    return GoalVictim(guarded, aim, "second" if job.when == "computed" else "only")


def aim_at(job: DetectorJob, size: tuple[int, int]) -> Aim:
    """What is attacked in a picture of that size (width, height)."""
    model = loaded(job.model)
    counted = [one for one in job.picture.boxes if one.is_counted]
    first = int(model.contract.background)
    assert job.plan.goal is not None
    return Aim(
        job.plan.goal,
        on_input([one.corners for one in counted], size, model.contract),
        np.array([one.index - first for one in counted], np.int64),
        DeployedDetector(model).threshold,
        None if job.target is None else job.target - first,
    )


def guards_of(contract: Contract, defense: str) -> tuple[GuardProfile | None, PatchGuard | None]:
    """The profile and the patch guard that a protocol's defence means; `contract` is the model's own profile alone."""
    if defense == "none":
        return None, None
    if defense == "contract":
        return (None if contract.guard.place == "in-graph" else contract.guard.profile), None
    if defense in PATCH_GUARDS:
        return None, patch_guard(defense)
    return resolve_profile(defense), None


def arriving(
    model: Model, guards: tuple[GuardProfile | None, PatchGuard | None], raw: Frame, when: DetectorWhen
) -> Frame:
    """The frame as it arrives at the only pass, or after pass 1 at the second."""
    if when == "once" or guards[0] is None:
        return raw
    path = DeployedDetector(model, profile=guards[0]).path
    return np.asarray(path.capture(raw).decode(), np.uint8)


@lru_cache(maxsize=2)
def loaded(path: str) -> Model:
    """The deployed file, on one thread: units of work share the cores."""
    return load_model(located(path), threads=1)


@lru_cache(maxsize=2)
def _twin(path: str) -> Twin:
    torch.set_num_threads(1)
    made = detector_twin(located(path), "frame")
    assert isinstance(made.network, DetectorNetwork)
    return made
