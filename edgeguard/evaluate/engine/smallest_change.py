"""Attacks that look for the smallest change, whatever the budget: one search answers for all budgets.

What exceeds a budget is cut off afterwards. Results are whole levels, so that cutting them gives what a search for that
budget alone would have given.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.engine.executors import Executor
from edgeguard.evaluate.engine.jobs import AttackJob, run_attack
from edgeguard.evaluate.engine.resume import Results, finished
from edgeguard.evaluate.engine.store import AdversarialImages, of_picture
from edgeguard.evaluate.engine.targets import Frame
from edgeguard.evaluate.protocol import AttackPlan

_NO_LIMIT = 255


def searches_once(plan: AttackPlan) -> bool:
    """True where the plan's attack finds the same change for every budget, and cuts it.

    Example:
        >>> searches_once(AttackPlan("h", "hop-skip-jump", {"eps_8bit": 2}))
        True
    """
    return getattr(attack(plan.kind, plan.parameters), "within_8bit", None) is not None


def search_of(plan: AttackPlan) -> AttackPlan:
    """The plan with a budget that cuts nothing: its result serves all budgets."""
    return replace(plan, parameters={**plan.parameters, "eps_8bit": _NO_LIMIT})


def cut(found: Frame, before: Frame, eps_8bit: float) -> Frame:
    """A change with what exceeds a budget cut off, uint8 (height, width, 3) as `found` and `before` are."""
    change = of_picture(found, before).astype(np.int16) - before
    return np.asarray((before + change.clip(-int(eps_8bit), int(eps_8bit))).astype(np.uint8))


def search_job(job: AttackJob) -> AttackJob:
    """The job whose result serves all budgets; the job itself where the attack needs one for each."""
    return replace(job, plan=search_of(job.plan)) if searches_once(job.plan) else job


def finished_attacks(
    jobs: Sequence[AttackJob],
    *,
    kept: Results[AdversarialImages],
    executor: Executor,
    progress: Callable[[int, int], None],
) -> list[AdversarialImages]:
    """`finished` for attacks: what a search has found is kept for the other budgets, and cut to that of its job."""
    searches = [search_job(job) for job in jobs]
    found = finished(
        searches, run_attack, kept=kept, executor=executor, progress=progress,
        fits=lambda job, made: len(made.images) == len(job.samples),
    )  # fmt: skip
    return [
        made if job is search else _cut_all(job, made) for job, search, made in zip(jobs, searches, found, strict=True)
    ]


def _cut_all(job: AttackJob, made: AdversarialImages) -> AdversarialImages:
    pairs = zip(job.samples, made.images, strict=True)
    frames = tuple(cut(frame, job.before(sample), job.plan.eps_8bit or 0) for sample, frame in pairs)
    return AdversarialImages(frames, made.seconds)
