"""The smallest budget that breaks an image: bisection, since what breaks it with less room breaks it with more."""

import hashlib
import json
import time
from dataclasses import dataclass

from edgeguard.differentiable.surrogates import Backward
from edgeguard.evaluate.defenses.registry import profile_files
from edgeguard.evaluate.engine.jobs import REFUSED, AttackJob, Sample, ScoreJob, run_attack, run_score
from edgeguard.evaluate.engine.smallest_change import cut, search_job, searches_once
from edgeguard.evaluate.engine.store import AdversarialImages
from edgeguard.evaluate.engine.targets import Frame, Target
from edgeguard.evaluate.protocol import AttackPlan, When


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """One attack on one image at some budgets.

    Attributes:
        plans: the attack, one plan for each budget, smallest first.
        sample: the image.
        defense: the defense that the deployed file stands behind, which decides whether it errs.
        when: how the perturbation meets it.
        defense_sha256: of its profile, or its name.
        target, first_pass, through, backward, seed, model_sha256, guard_sha256: as in `AttackJob`.
    """

    target: Target
    plans: tuple[AttackPlan, ...]
    sample: Sample
    defense: str
    defense_sha256: str
    when: When
    first_pass: str
    through: str
    backward: Backward
    seed: int
    model_sha256: str
    guard_sha256: str

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads."""
        return (*self._attack(0).files, *profile_files([self.defense]))

    @property
    def key(self) -> str:
        """Names the result: the SHA-256 of everything that it depends on, paths left out."""
        described = {
            "sweep": 1,
            "attacks": [self._attack(index).key for index in range(len(self.plans))],
            "defense": self.defense_sha256,
            "when": self.when,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def at(self, index: int) -> Frame:
        """The image as the attack leaves it with one of the budgets."""
        return run_attack(self._attack(index)).images[0]

    def searched(self) -> Frame | None:
        """The image after one search that serves all budgets; None where the attack needs one for each."""
        if not searches_once(self.plans[0]):
            return None
        return run_attack(search_job(self._attack(0))).images[0]

    def untouched(self) -> Frame:
        """The image as the attacker finds it."""
        return self._attack(0).before(self.sample)

    def breaks(self, changed: Frame) -> bool:
        """True where the deployed file errs behind its defense."""
        job = ScoreJob(
            target=self.target, samples=(self.sample,), defense=self.defense, when=self.when, seed=self.seed,
            adversarial=(changed,),
        )  # fmt: skip
        label, target = run_score(job).labels[0], self.plans[0].target
        return label not in (self.sample.label, REFUSED) if target is None else label == target

    def _attack(self, index: int) -> AttackJob:
        return AttackJob(
            target=self.target, plan=self.plans[index], samples=(self.sample,), first_pass=self.first_pass,
            defense=self.through, backward=self.backward, seed=self.seed, model_sha256=self.model_sha256,
            guard_sha256=self.guard_sha256,
        )  # fmt: skip


def run_sweep(job: SweepJob) -> AdversarialImages:
    """The image at each budget: from the smallest that breaks it on the one that does, below what was tried in vain.

    A budget below one that was in vain is not tried; there the image is as the attacker found it.
    """
    began = time.perf_counter()
    tried: dict[int, Frame] = {}
    untouched, found = job.untouched(), job.searched()
    held, broken = -1, len(job.plans)
    while broken - held > 1:
        middle = (held + broken) // 2
        tried[middle] = job.at(middle) if found is None else cut(found, untouched, job.plans[middle].eps_8bit or 0)
        if job.breaks(tried[middle]):
            broken = middle
        else:
            held = middle
    shown = [tried.get(min(index, broken), untouched) for index in range(len(job.plans))]
    return AdversarialImages(tuple(shown), time.perf_counter() - began)
