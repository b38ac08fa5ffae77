"""The smallest budget that breaks an image: what the attacker finds, and what is shown below it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeguard.differentiable.surrogates import Backward
from edgeguard.evaluate.engine.jobs import Sample
from edgeguard.evaluate.engine.sweep import SweepJob
from edgeguard.evaluate.engine.targets import Target
from edgeguard.evaluate.protocol import AttackPlan
from edgeguard.guard import GuardProfile, Sanitizer

_BACKWARD: Backward = "straight-through"


def test_between_the_passes_the_attacker_finds_levels_with_room(card_model: Path, card_images: Path) -> None:
    """As pass 1 sends them, not as pass 2 hands them on."""
    path = next(p for p in sorted(card_images.rglob("*")) if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    job = SweepJob(
        target=Target(str(card_model), "frame"), plans=(AttackPlan("p", "pgd", {"eps_8bit": 1}),),
        sample=Sample(str(path), 0, "0"), defense="proof-1", defense_sha256="", when="computed", first_pass="proof-1",
        through="proof-1", backward=_BACKWARD, seed=0, model_sha256="", guard_sha256="",
    )  # fmt: skip
    raw, sanitizer = job.target.read(str(path)), Sanitizer(GuardProfile.preset("proof-1"))
    assert np.array_equal(job.untouched(), sanitizer(raw, "first"))
    assert not np.array_equal(job.untouched(), sanitizer(raw, "only"))
    assert np.array_equal(replace(job, first_pass="none").untouched(), raw)
