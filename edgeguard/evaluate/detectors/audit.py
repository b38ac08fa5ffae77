"""A protocol on a deployed detector: make the changed pictures, ask the file, count objects, calculate precision."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from edgeguard.datasets.objects import AnnotatedImage
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.evaluate.detectors.deployed import AskingVictim, DeployedDetector
from edgeguard.evaluate.detectors.jobs import (
    DetectorJob,
    DetectorWhen,
    Frame,
    Pictured,
    aim_at,
    arriving,
    gradient_victim,
    guards_of,
    loaded,
    run_detector_job,
)
from edgeguard.evaluate.detectors.matching import Judged, Precision, average_precision, judged
from edgeguard.evaluate.engine.executors import Executor
from edgeguard.evaluate.engine.resume import finished
from edgeguard.evaluate.engine.store import AdversarialImages, Store
from edgeguard.evaluate.forecast import calls, duration
from edgeguard.evaluate.protocol import AttackPlan, DefensePlan, Protocol
from edgeguard.evaluate.reports.pictures import Example
from edgeguard.evaluate.reports.results import Cell
from edgeguard.guard.passes import Pass1
from edgeguard.model.prediction import BoxScore
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.located import located

#: (what is being done, units done, units in all)
Progress = Callable[[str, int, int], None]
_EXAMPLES = 5
_MADE_WITHOUT = "made without it"


class DetectorAudit:
    """A protocol whose task is `detect`, on one file and annotated pictures; `run` gives its cells.

    Attacks through a guard profile see its derivative; patch guards are shown what was made without them, and their
    cells say so.

    Args:
        model: path of the deployed file.
        pictures: with their objects.
        plan: the protocol.
        store: where changed pictures are kept.
        executor: runs the units of work.
        progress: see `Progress`.
        target: the class that mislabel and create aim at, as the model's labels count; None for any wrong one.
        classes: how many the model has, the background not counted.
    """

    def __init__(
        self,
        model: str,
        pictures: Sequence[AnnotatedImage],
        plan: Protocol,
        *,
        store: Store,
        executor: Executor,
        progress: Progress,
        target: int | None,
        classes: int,
    ) -> None:
        self.model, self.plan, self.store, self.executor, self.progress = model, plan, store, executor, progress
        self.target, self.classes, self.sha256 = target, classes, loaded(model).sha256
        order = np.random.default_rng(plan.seed).permutation(len(pictures))[: plan.images]
        self.pictures = [
            Pictured(str(pictures[i].image.data), pictures[i].image.sha256, pictures[i].boxes) for i in sorted(order)
        ]
        contract = loaded(model).contract
        has_guard = guards_of(contract, "contract")[0] is not None
        two_passes = contract.guard.place != "input"
        self.defenses = [
            d for d in plan.defenses if (has_guard or d.name != "contract") and (two_passes or d.when == "once")
        ]
        self._shown = hashlib.sha256("".join(one.sha256 for one in self.pictures).encode()).hexdigest()[:16]
        self.examples: list[Example] = []
        self._made: dict[str, list[AdversarialImages]] = {}

    @property
    def objects(self) -> int:
        """How many are counted."""
        return sum(box.is_counted for one in self.pictures for box in one.boxes)

    def run(self) -> Iterator[Cell]:
        """Clean pictures behind each defence, then each attack."""
        for defense in self.defenses:
            yield self._clean(defense)
        for defense in self.defenses:
            for plan in self.plan.attacks:
                yield self._attacked(plan, defense)

    def forecast(self, workers: int) -> str:
        """How long it takes at most, in words: one picture is timed behind each defence."""
        seconds = 0.0
        for defense in self.defenses:
            gradient_s, query_s = self._timed(defense)
            seconds += query_s
            for plan in self.plan.attacks:
                if defense.name in PATCH_GUARDS:
                    seconds += query_s
                    continue
                gradients, queries = calls(plan)
                tries = len(_backwards(plan, defense))
                seconds += tries * (gradients * gradient_s + queries * query_s + query_s)
        n = len(self.pictures)
        whole = 15 + seconds * math.ceil(n / workers)
        return (
            f"forecast: at most about {duration(whole)} on {workers} core{'s' * (workers > 1)} ({n} pictures, "
            f"{len(self.plan.attacks)} attacks, {len(self.defenses)} defenses); --limit attacks fewer pictures"
        )

    def _clean(self, defense: DefensePlan) -> Cell:
        frames = [self._arriving(one, defense) for one in self.pictures]
        found = self._asked(defense, frames, f"clean, {defense.title}")
        each = [judged(one.boxes, boxes) for one, boxes in zip(self.pictures, found, strict=True)]
        kept = [hit for one in each for hit in one.found]
        return self._cell("clean", None, defense, kept, found, AttackPlan("clean", "clean"))

    def _attacked(self, plan: AttackPlan, defense: DefensePlan) -> Cell:
        best: list[Judged] = []
        found: list[tuple[BoxScore, ...]] = []
        for made in self._tries(plan, defense):
            frames = [one.images[0] for one in made]
            boxes = self._asked(defense, frames, f"{plan.name}, {defense.title}")
            each = [judged(one.boxes, b) for one, b in zip(self.pictures, boxes, strict=True)]
            if not best:
                best, found = each, boxes
                continue
            for i, (now, before) in enumerate(zip(each, best, strict=True)):  # the worst of each picture counts
                if sum(_kept(now, plan, self.target)) < sum(_kept(before, plan, self.target)):
                    best[i], found[i] = now, boxes[i]
        kept = [hit for one in best for hit in _kept(one, plan, self.target)]
        return self._cell(plan.name, plan.eps_8bit, defense, kept, found, plan)

    def _tries(self, plan: AttackPlan, defense: DefensePlan) -> Iterator[list[AdversarialImages]]:
        if defense.name in PATCH_GUARDS:
            yield (
                self._made[_named(plan)]
                if _named(plan) in self._made
                else self._finished(plan, DefensePlan("none"), "identity")
            )
            return
        for backward in _backwards(plan, defense):
            made = self._finished(plan, defense, backward)
            if defense.name == "none":
                self._made[_named(plan)] = made
                self._keep_example(plan, made)
            yield made

    def _finished(self, plan: AttackPlan, defense: DefensePlan, backward: Backward) -> list[AdversarialImages]:
        jobs = [self._job(one, plan, defense, backward) for one in self.pictures]
        what = f"{plan.name}, {defense.title}"
        return finished(
            jobs, run_detector_job, kept=self.store, executor=self.executor, progress=partial(self.progress, what),
            fits=lambda job, made: [one.shape for one in made.images] == [_frame(job.picture).shape],
        )  # fmt: skip

    def _job(self, picture: Pictured, plan: AttackPlan, defense: DefensePlan, backward: Backward) -> DetectorJob:
        profile = guards_of(loaded(self.model).contract, defense.name)[0]
        return DetectorJob(
            model=self.model, model_sha256=self.sha256, picture=picture, plan=plan, defense=defense.name,
            guard_sha256="" if profile is None else profile.sha256, when=_when(defense),
            backward=backward, target=self.target, classes=self.classes, seed=self.plan.seed,
        )  # fmt: skip

    def _arriving(self, picture: Pictured, defense: DefensePlan) -> Frame:
        model = loaded(self.model)
        return arriving(model, guards_of(model.contract, defense.name), _frame(picture), _when(defense))

    def _asked(self, defense: DefensePlan, frames: Sequence[Frame], what: str) -> list[tuple[BoxScore, ...]]:
        model = loaded(self.model)
        profile, patch = guards_of(model.contract, defense.name)
        deployed = DeployedDetector(model, profile=profile, patch_guard=patch)
        pass1: Pass1 = "sensor" if defense.when == "computed" else "none"
        found = []
        for number, frame in enumerate(frames, start=1):
            found.append(deployed.boxes(frame, pass1))
            self.progress(f"asking, {what}", number, len(frames))
        return found

    def _cell(
        self, name: str, eps: float | None, defense: DefensePlan, kept: Sequence[bool],
        found: Sequence[tuple[BoxScore, ...]], plan: AttackPlan,
    ) -> Cell:  # fmt: skip
        precision: Precision = average_precision([one.boxes for one in self.pictures], found)
        shown = defense.name in PATCH_GUARDS and name != "clean"
        return Cell(
            protocol=self.plan.name, box=self.plan.box, threat="scene" if shown else defense.threat, place="frame",
            attack=name, eps_8bit=eps, defence=defense.title, passes=defense.passes, images=self._shown, n=len(kept),
            correct=sum(kept),
            note=_MADE_WITHOUT if shown else "", correct_images=tuple(i for i, one in enumerate(kept) if one),
            gradient_free=name != "clean" and plan.gradient_free, goal=plan.goal or "clean", ap50=precision.ap50,
            ap=precision.ap, ap50_low=precision.low50, ap50_high=precision.high50,
        )  # fmt: skip

    def _keep_example(self, plan: AttackPlan, made: Sequence[AdversarialImages]) -> None:
        if len(self.examples) < _EXAMPLES and made:
            self.examples.append(Example(plan.name, _frame(self.pictures[0]), made[0].images[0]))

    def _timed(self, defense: DefensePlan) -> tuple[float, float]:
        """Seconds of a gradient and of a query behind a defence, on one core; of two runs the second."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._timed_on_one_core(defense)
        finally:
            torch.set_num_threads(threads)

    def _timed_on_one_core(self, defense: DefensePlan) -> tuple[float, float]:
        picture = next(one for one in self.pictures if any(box.is_counted for box in one.boxes))
        plan = next(iter(self.plan.attacks))
        job = self._job(picture, plan, defense, "straight-through")
        frame = _frame(picture)
        aim = aim_at(job, (frame.shape[1], frame.shape[0]))
        profile, patch = guards_of(loaded(self.model).contract, defense.name)
        asking = AskingVictim(
            DeployedDetector(loaded(self.model), profile=profile, patch_guard=patch), aim, classes=self.classes,
            first=int(loaded(self.model).contract.background),
        )  # fmt: skip
        levels = to_levels(frame[None])
        gradient_s = query_s = 0.0
        needs_gradient = defense.name not in PATCH_GUARDS and any(not each.gradient_free for each in self.plan.attacks)
        victim = gradient_victim(job, aim, profile) if needs_gradient else None
        for _ in range(2):
            began = time.perf_counter()
            asking(levels)
            query_s = time.perf_counter() - began
            if victim is not None:
                began = time.perf_counter()
                changed = levels.clone().requires_grad_(True)
                torch.autograd.grad(victim(changed).sum(), changed)
                gradient_s = time.perf_counter() - began
        return gradient_s, query_s


def _backwards(plan: AttackPlan, defense: DefensePlan) -> tuple[Backward, ...]:
    return plan.gradients if defense.name != "none" and not plan.gradient_free else ("identity",)


def _named(plan: AttackPlan) -> str:
    return f"{plan.name} {plan.eps_8bit}"


def _when(defense: DefensePlan) -> DetectorWhen:
    return "computed" if defense.when == "computed" else "once"


def _frame(picture: Pictured) -> Frame:
    return decode_whole(read_bounded(located(picture.path), LARGEST_PICTURE, "the picture"))


def _kept(one: Judged, plan: AttackPlan, target: int | None) -> list[bool]:
    """What the attack did not get: objects found as what they are, pictures in which nothing is invented."""
    if plan.goal == "create":
        return [not (one.invented if target is None else [k for k in one.invented if k == target])]
    if plan.goal == "mislabel":
        turned = [k is not None and (target is None or k == target) for k in one.said]
        objects = zip(one.classes, one.found, turned, strict=True)  # those of the target's class cannot be mislabelled
        return [hit or not wrong for k, hit, wrong in objects if k != target]
    return list(one.found)


def without_gradients(plan: Protocol) -> Protocol:
    """The protocol for a file that has no twin: each goal at its largest budget, by asking alone."""
    kept = []
    for goal in dict.fromkeys(one.goal for one in plan.attacks):
        mine = [one.eps_8bit for one in plan.attacks if one.goal == goal and one.eps_8bit and one.eps_8bit < 255]
        eps = int(max(mine, default=8))
        kept.append(AttackPlan(f"{goal}, asking", "square", {"queries": 1000, "eps_8bit": eps}, goal=goal))
    return replace(plan, attacks=tuple(kept))
