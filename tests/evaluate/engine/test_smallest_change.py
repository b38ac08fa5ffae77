"""Attacks whose one search serves all budgets: HopSkipJump asks thousands of times, and once is enough."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.evaluate.engine import jobs, smallest_change
from edgeguard.evaluate.engine.executors import ThisProcess
from edgeguard.evaluate.engine.jobs import AttackJob, Sample
from edgeguard.evaluate.engine.smallest_change import cut, finished_attacks, searches_once
from edgeguard.evaluate.engine.store import AdversarialImages, Store
from edgeguard.evaluate.engine.sweep import SweepJob, run_sweep
from edgeguard.evaluate.engine.targets import Frame, Target
from edgeguard.evaluate.protocol import AttackPlan

BEFORE = np.array([[[0, 100, 255]]], np.uint8)
FOUND = np.array([[[9, 97, 250]]], np.uint8)
SAMPLE = Sample("a.png", 0, "0" * 64)


def _plan(eps: int, kind: str = "hop-skip-jump") -> AttackPlan:
    return AttackPlan("h", kind, {"eps_8bit": eps})


def _job(plan: AttackPlan) -> AttackJob:
    return AttackJob(
        target=Target("m.tflite", "frame"), plan=plan, samples=(SAMPLE,), first_pass="none", defense="none",
        backward="identity", seed=0, model_sha256="", guard_sha256="",
    )  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AttackPlan]:
    """The plans that are searched, while nothing is."""
    plans: list[AttackPlan] = []

    def searched(job: AttackJob) -> AdversarialImages:
        plans.append(job.plan)
        return AdversarialImages((FOUND,), 1.0)

    monkeypatch.setattr(smallest_change, "run_attack", searched)
    monkeypatch.setattr("edgeguard.evaluate.engine.sweep.run_attack", searched)
    monkeypatch.setattr(Target, "read", lambda self, path: BEFORE)
    monkeypatch.setattr(Target, "defense", lambda self, name: None)
    monkeypatch.setattr(jobs, "in_pass", lambda defense, which, frame, seed: frame)
    return plans


def test_which_attacks_search_once() -> None:
    assert searches_once(_plan(2)) and not searches_once(_plan(2, "pgd"))
    assert not searches_once(AttackPlan("h", "hop-skip-jump", {})), "without a budget it looks for the smallest L2"


def test_a_budget_cuts_what_was_found() -> None:
    assert cut(FOUND, BEFORE, 2).tolist() == [[[2, 98, 253]]]
    assert np.array_equal(cut(FOUND, BEFORE, 255), FOUND)


def test_one_search_serves_all_budgets(asked: list[AttackPlan], tmp_path: Path) -> None:
    shown: list[Frame] = []
    for eps in (1, 4, 8):
        made = finished_attacks(
            [_job(_plan(eps))], kept=Store(tmp_path), executor=ThisProcess(), progress=lambda done, of: None
        )
        shown.append(made[0].images[0])
    assert len(asked) == 1
    assert [int(frame[0, 0, 0]) for frame in shown] == [1, 4, 8]


def test_other_attacks_run_at_each_budget(asked: list[AttackPlan], tmp_path: Path) -> None:
    for eps in (1, 4):
        finished_attacks(
            [_job(_plan(eps, "pgd"))], kept=Store(tmp_path), executor=ThisProcess(), progress=lambda done, of: None
        )
    assert [plan.eps_8bit for plan in asked] == [1, 4]


def test_the_smallest_budget_is_found_with_one_search(asked: list[AttackPlan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SweepJob, "breaks", lambda self, changed: changed[0, 0, 0] >= 4)
    job = SweepJob(
        target=Target("m.tflite", "frame"), plans=tuple(_plan(eps) for eps in (1, 2, 4, 8)), sample=SAMPLE,
        defense="none", defense_sha256="", when="once", first_pass="none", through="none", backward="identity", seed=0,
        model_sha256="", guard_sha256="",
    )  # fmt: skip
    made = run_sweep(job)
    assert len(asked) == 1
    assert [int(frame[0, 0, 0]) for frame in made.images] == [0, 2, 4, 4]
