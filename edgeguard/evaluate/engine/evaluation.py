"""Running a protocol: choose the images, make the adversarial ones, ask the deployed file, count."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.datasets.images import LabeledImage
from edgeguard.differentiable.surrogates import Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.registry import NEED_LIBRARY, defense_by_name, guard_of
from edgeguard.evaluate.engine.executors import Executor
from edgeguard.evaluate.engine.fidelity_columns import mean_spectrum, with_fidelity
from edgeguard.evaluate.engine.jobs import REFUSED, AttackJob, Sample, Score, ScoreJob, run_score
from edgeguard.evaluate.engine.resume import finished
from edgeguard.evaluate.engine.smallest_change import finished_attacks
from edgeguard.evaluate.engine.store import AdversarialImages, Store
from edgeguard.evaluate.engine.sweep import SweepJob, run_sweep
from edgeguard.evaluate.engine.targets import Frame, Target
from edgeguard.evaluate.protocol import AttackPlan, DefensePlan, Protocol
from edgeguard.evaluate.reports.masking import summary_title
from edgeguard.evaluate.reports.pictures import Example
from edgeguard.evaluate.reports.results import Cell
from edgeguard.evaluate.twin import TwinPlace
from edgeguard.guard import certificate
from edgeguard.model import load_model
from edgeguard.model.contract import require_classifier, require_pixels

#: (what is being done, units done, units in all)
Progress = Callable[[str, int, int], None]
_LIBRARY_IMAGES = 100
_FEW = 20
_EXAMPLES = 5


@dataclass(frozen=True)
class Attempt:
    """One attack on one defense.

    Attributes:
        plan: the attack.
        first_pass: the defense whose output the attacker starts from, or `none`.
        through: the defense that is differentiated through, or `none`.
        backward: the derivative of that defense.
    """

    plan: AttackPlan
    _: KW_ONLY
    first_pass: str
    through: str
    backward: Backward


class Evaluation:
    """A protocol on a model and those of the images that are files with a label; see `run`.

    Args:
        model: the deployed .tflite.
        images: labeled images; the protocol's seed puts them in order.
        protocol: what is attacked how.
        store: keeps adversarial images.
        executor: runs the jobs.
        progress: called with what is being done, units done and units in all.
        surrogate: another .tflite of the same classes, which transfer attacks are made on.

    Raises:
        InputError: the model is no classifier of pixels, or a file cannot be read.
    """

    def __init__(
        self,
        model: Path,
        images: Sequence[LabeledImage],
        protocol: Protocol,
        *,
        store: Store,
        executor: Executor,
        progress: Progress = lambda what, done, total: None,
        surrogate: Path | None = None,
    ) -> None:
        deployed = load_model(model)
        contract = deployed.contract
        require_classifier(contract, f"{model}: evaluate")
        require_pixels(contract, "evaluate (but for `evaluate matrix`, which attacks trained networks)")
        offset = 1 if contract.background else 0
        self.protocol, self.store, self.executor, self.progress = protocol, store, executor, progress
        self.model_sha256 = deployed.sha256
        self.profile = contract.guard.profile
        self.place: TwinPlace = _place(protocol, contract.guard.place)
        known = [i for i in images if i.label is not None and isinstance(i.data, Path)]
        self.samples = [Sample(str(i.data), int(i.label or 0) + offset, i.sha256) for i in known]
        chosen = np.random.default_rng(protocol.seed).permutation(len(self.samples))
        self.samples = [self.samples[i] for i in chosen]
        self.target = Target(str(model), self.place)
        self.surrogate = None if surrogate is None else (str(surrogate), load_model(surrogate).sha256)
        #: Of each defense, by title, which clean images are right: in the order of `samples`.
        self.clean_right: dict[str, np.ndarray[Any, Any]] = {}
        #: The label that attacks aim at; None for any wrong one.
        self.aim = next((plan.target for plan in protocol.attacks), None)
        self._attacked: list[Sample] = []
        self._examples: dict[str, Example] = {}

    def run(self) -> Iterator[Cell]:
        """All cells of the protocol: clean accuracies, each attack, the worst case of each budget.

        Raises:
            InputError: no image is classified correctly without a defense.
            DeviceError: a worker was killed, or a result cannot be kept; what is finished stays.
        """
        seeds, rest = self._seeds()
        self._attacked = seeds
        library = tuple(sample.path for sample in rest[:_LIBRARY_IMAGES])
        self.target = replace(self.target, library=library)
        defenses = self.defenses
        for defense in defenses:
            yield self._clean_cell(defense, self.samples)
        if self.protocol.box == "gray":
            yield from self._gray(seeds, defenses)
        elif self.protocol.budgets == "smallest":
            for defense in defenses:
                yield from self._smallest(seeds[: defense.limit], defense)
        else:
            yield from self._white(seeds, defenses)

    @property
    def defenses(self) -> list[DefensePlan]:
        """Those of the protocol that this model has."""
        return [defense for defense in self.protocol.defenses if self._exists(defense)]

    def examples(self) -> tuple[Example, ...]:
        """One image of each of the first attacks, as the attacker found it and as it left it."""
        return tuple(self._examples.values())

    def certified_shares(self) -> tuple[float, ...]:
        """Of each attacked image the share of blocks (0..1) that +-1 level in transit cannot change.

        Empty where the protocol has no attack in transit, or the guard no certificate.
        """
        named = next((d.name for d in self.protocol.defenses if d.when == "computed" and self._exists(d)), None)
        guard = None if named is None else guard_of(self.target.defense(named))
        if guard is None or not guard.profile.is_pixel_domain:
            return ()
        received = (guard(self.target.read(sample.path), which="first") for sample in self._attacked)
        return tuple(proof.share_1 for frame in received if (proof := certificate(frame, guard.profile)) is not None)

    def _exists(self, defense: DefensePlan) -> bool:
        """False for the model's own guard where it has none, and for two passes where only one can be."""
        return defense.name != "contract" or (self.profile is not None and (defense.when == "once" or self._two_passes))

    @property
    def _two_passes(self) -> bool:
        return self.place == "frame"

    def _seeds(self) -> tuple[list[Sample], list[Sample]]:
        """The first images that the undefended model gets right, and all others."""
        right: list[Sample] = []
        looked_at = 0
        batch = 4 * self.protocol.batch
        while len(right) < self.protocol.images and looked_at < len(self.samples):
            group = self.samples[looked_at : looked_at + batch]
            scores = self._scores("choosing images", group, "none", "once", None)
            labels = [label for score in scores for label in score.labels]
            right += [sample for sample, label in zip(group, labels, strict=True) if label == sample.label != self.aim]
            looked_at += batch
        right = right[: self.protocol.images]
        if not right:
            raise InputError("the model classifies none of these images correctly: are labels and preprocessing right?")
        taken = set(right)
        return right, [sample for sample in self.samples if sample not in taken]

    def _clean_cell(self, defense: DefensePlan, images: Sequence[Sample]) -> Cell:
        images = images[: defense.limit]
        scores = self._scores(f"clean, {defense.title}", images, defense.name, defense.when, None)
        right = self.clean_right[defense.title] = _right(images, scores, attacked=False)
        cell = self._counted("clean", None, defense, images, right)
        cell = with_fidelity(cell, scores)
        blocks = sum(score.blocks for score in scores)
        return replace(cell, certified_share=sum(score.safe_blocks for score in scores) / blocks) if blocks else cell

    def _gray(self, seeds: Sequence[Sample], defenses: Sequence[DefensePlan]) -> Iterator[Cell]:
        for plan in self.protocol.attacks:
            on_raw = self._adversarial(seeds, Attempt(plan, first_pass="none", through="none", backward="identity"))
            capped = False
            for defense in defenses:
                images = seeds[: defense.limit]
                made = on_raw
                if defense.when == "computed":
                    made = self._adversarial(
                        images, Attempt(plan, first_pass=defense.name, through="none", backward="identity")
                    )
                scores = self._scores(f"{plan.name}, {defense.title}", images, defense.name, defense.when, made)
                cell = self._counted(plan, plan.eps_8bit, defense, images, self._survived(images, scores))
                cell = with_fidelity(replace(cell, mean_l2=self._mean_l2(images, made, defense)), scores)
                if defense.name == "none":  # the same change is shown to each defense
                    cell = replace(cell, spectrum=mean_spectrum(self.target, images, made))
                if defense.name == "none" and cell.accuracy > self.protocol.undefended_at_most:
                    capped = True
                yield replace(cell, note="capped") if capped else cell

    def _white(self, seeds: Sequence[Sample], defenses: Sequence[DefensePlan]) -> Iterator[Cell]:
        for defense in defenses:
            images = seeds[: defense.limit]
            worst: dict[float | None, np.ndarray[Any, Any]] = {}
            for plan in self.protocol.attacks:
                survivors, found = np.ones(len(images), bool), list[Score]()
                for attempt in self._attempts(plan, defense):
                    made = self._adversarial(images, attempt)
                    what = f"{plan.name}, {defense.title}"
                    scores = self._scores(what, images, defense.name, defense.when, made, plan.eps_8bit)
                    survivors &= self._survived(images, scores)
                    found += scores
                cell = self._counted(plan, plan.eps_8bit, defense, images, survivors)
                cell = _with_certificate(cell, found, len(images))
                yield cell
                worst[plan.eps_8bit] = worst.get(plan.eps_8bit, np.ones(len(images), bool)) & survivors
            title = summary_title(self.protocol.attacks)
            for eps, survivors in worst.items():
                yield self._counted(title, eps, defense, images, survivors)

    def _smallest(self, images: Sequence[Sample], defense: DefensePlan) -> Iterator[Cell]:
        """Each attack on what the ones before it left, at the budgets below the smallest that broke an image."""
        budgets = sorted({plan.eps_8bit for plan in self.protocol.attacks if plan.eps_8bit is not None})
        right = {eps: np.ones(len(images), bool) for eps in budgets}
        title = summary_title(self.protocol.attacks)
        for plans in _by_attack(self.protocol.attacks):
            before = {eps: int(right[eps].sum()) for eps in budgets}
            found: dict[float, list[Score]] = {eps: [] for eps in budgets}
            for attempt in self._attempts(plans[0], defense):
                self._swept(images, plans, attempt, defense, right, found)
            for plan in plans:
                eps = float(plan.eps_8bit or 0)
                cell = self._counted(plan, plan.eps_8bit, defense, images, right[eps])
                cell = replace(
                    cell, left_before=before[eps], note=f"took {before[eps] - cell.correct} of {before[eps]}"
                )
                yield _with_certificate(cell, found[eps], before[eps])
        for eps in budgets:
            yield self._counted(title, eps, defense, images, right[eps])

    def _swept(
        self,
        images: Sequence[Sample],
        plans: Sequence[AttackPlan],
        attempt: Attempt,
        defense: DefensePlan,
        right: dict[float, np.ndarray[Any, Any]],
        found: dict[float, list[Score]],
    ) -> None:
        """One attack in one way: which images are `right` still, and what was `found` of each budget, is kept there."""
        wanted = [tuple(plan for plan in plans if right[float(plan.eps_8bit or 0)][i]) for i in range(len(images))]
        rows = [i for i, open_ in enumerate(wanted) if open_]
        jobs = [self._sweep_job(images[i], wanted[i], attempt, defense) for i in rows]
        what = f"{attempt.plan.name}, {defense.title}"
        made = finished(
            jobs, run_sweep, kept=self.store, executor=self.executor, progress=partial(self.progress, what),
            fits=lambda job, made: len(made.images) == len(job.plans),
        )  # fmt: skip
        for plan in plans:
            eps = float(plan.eps_8bit or 0)
            at = [
                (i, result.images[wanted[i].index(plan)])
                for i, result in zip(rows, made, strict=True)
                if plan in wanted[i]
            ]
            if not at:
                continue
            shown = [images[i] for i, _ in at]
            frames = [AdversarialImages((frame,), 0.0) for _, frame in at]
            self._keep_example(attempt, shown[0], at[0][1])
            scores = self._scores(what, shown, defense.name, defense.when, frames, eps)
            found[eps] += scores
            for (i, _), kept in zip(at, self._survived(shown, scores), strict=True):
                for larger in right:
                    if larger >= eps and not kept:
                        right[larger][i] = False

    def _sweep_job(
        self, sample: Sample, plans: tuple[AttackPlan, ...], attempt: Attempt, defense: DefensePlan
    ) -> SweepJob:
        one = self._job((sample,), replace(attempt, plan=plans[0]))
        return SweepJob(
            target=one.target, plans=plans, sample=sample, defense=defense.name,
            defense_sha256=self._profile_hash(defense.name), when=defense.when, first_pass=one.first_pass,
            through=one.defense, backward=one.backward, seed=one.seed, model_sha256=one.model_sha256,
            guard_sha256=one.guard_sha256,
        )  # fmt: skip

    def _attempts(self, plan: AttackPlan, defense: DefensePlan) -> list[Attempt]:
        """The ways in which one attack is tried on one defence; the worst counts."""
        first_pass = defense.name if defense.when == "computed" else "none"
        if plan.transfer or defense.name == "none":
            return [Attempt(plan, first_pass=first_pass, through="none", backward="identity")]
        gradients = plan.gradients if self._is_guard(defense) and not plan.gradient_free else plan.gradients[:1]
        return [Attempt(plan, first_pass=first_pass, through=defense.name, backward=each) for each in gradients]

    def _survived(self, images: Sequence[Sample], scores: Sequence[Score]) -> np.ndarray[Any, Any]:
        """Which attacked images the attacker did not get: with a target those that do not say it."""
        if self.aim is None:
            return _right(images, scores)
        labels = np.array([label for score in scores for label in score.labels])[: len(images)]
        return np.asarray(labels != self.aim)

    def _is_guard(self, defense: DefensePlan) -> bool:
        return guard_of(self.target.defense(defense.name)) is not None

    def _adversarial(self, images: Sequence[Sample], attempt: Attempt) -> list[AdversarialImages]:
        """Adversarial images of each batch, from the store where they are there."""
        jobs = [self._job(batch, attempt) for batch in _batches(images, self.protocol.batch)]
        what = f"{attempt.plan.name}{'' if attempt.through == 'none' else f' through {attempt.through}'}"
        found = finished_attacks(jobs, kept=self.store, executor=self.executor, progress=partial(self.progress, what))
        self._keep_example(attempt, images[0], found[0].images[0])
        return found

    def _keep_example(self, attempt: Attempt, sample: Sample, after: Frame) -> None:
        name, free = attempt.plan.name, len(self._examples) < _EXAMPLES and attempt.first_pass == "none"
        if free and name not in self._examples:
            example = Example(name, self.target.read(sample.path), after)
            if not np.array_equal(example.before, example.after):
                self._examples[name] = example

    def _job(self, batch: Sequence[Sample], attempt: Attempt) -> AttackJob:
        profiles = [self._profile_hash(name) for name in (attempt.first_pass, attempt.through)]
        target, sha256 = self.target, self.model_sha256
        if attempt.plan.transfer and self.surrogate is not None:
            target, sha256 = replace(target, model=self.surrogate[0]), self.surrogate[1]
        return AttackJob(
            target=target, plan=attempt.plan, samples=tuple(batch), first_pass=attempt.first_pass,
            defense=attempt.through, backward=attempt.backward, seed=self.protocol.seed, model_sha256=sha256,
            guard_sha256=hashlib.sha256("".join(profiles).encode()).hexdigest(),
        )  # fmt: skip

    def _profile_hash(self, name: str) -> str:
        if name == "contract":
            return self.profile.sha256 if self.profile is not None else ""
        if name == "none":
            return name
        if name in NEED_LIBRARY:
            net = "differentiated" if name.startswith("magnet") else ""  # attacks from before that are made again
            return name + net + "".join(self.target.library)
        guard = getattr(defense_by_name(name), "profile", None)
        return name if guard is None else str(guard.sha256)

    def _scores(
        self,
        what: str,
        images: Sequence[Sample],
        defense: str,
        when: Any,
        made: Sequence[AdversarialImages] | None,
        eps_8bit: float | None = None,
    ) -> list[Score]:
        changed = None if made is None else [frame for batch in made for frame in batch.images]
        size = 1 if len(images) <= _FEW else self.protocol.batch  # slow defences get few images: one for each core
        jobs = [
            ScoreJob(
                target=self.target, samples=tuple(images[start : start + size]), defense=defense, when=when,
                seed=self.protocol.seed + start, count_blocks=when == "computed",
                adversarial=None if changed is None else tuple(changed[start : start + size]), eps_8bit=eps_8bit or 1,
                fidelity=self.protocol.fidelity,
            )
            for start in range(0, len(images), size)
        ]  # fmt: skip
        scores: dict[int, Score] = {}
        for index, score in self.executor.map(run_score, jobs):
            scores[index] = score
            self.progress(what, len(scores), len(jobs))
        return [scores[index] for index in range(len(jobs))]

    def _mean_l2(
        self, images: Sequence[Sample], made: Sequence[AdversarialImages], defense: DefensePlan
    ) -> float | None:
        """Mean L2 of the perturbation, pixels 0..1, of attacks on the images as they are."""
        if defense.when == "computed":
            return None
        changed = [frame for batch in made for frame in batch.images][: len(images)]
        deltas = [
            np.linalg.norm((frame.astype(np.float32) - self.target.read(sample.path)).ravel()) / 255
            for frame, sample in zip(changed, images, strict=True)
        ]
        return float(np.mean(deltas))

    def _counted(
        self,
        plan: AttackPlan | str,
        eps: float | None,
        defense: DefensePlan,
        images: Sequence[Sample],
        right: np.ndarray[Any, Any],
    ) -> Cell:
        """A cell of one attack, or of what has no plan of its own: `clean`, `worst case`."""
        attack, gradient_free = (plan, False) if isinstance(plan, str) else (plan.name, plan.gradient_free)
        paper = self.protocol.paper.get(attack, {}).get(defense.title)
        kept = tuple(int(index) for index in np.flatnonzero(right)) if attack != "clean" else ()
        shown = hashlib.sha256("".join(sample.sha256 for sample in images).encode()).hexdigest()[:16]
        return Cell(
            self.protocol.name, self.protocol.box, defense.threat, self.place, attack, eps, defense.title,
            defense.passes, len(images), int(right.sum()), shown, paper, correct_images=kept,
            gradient_free=gradient_free,
        )  # fmt: skip


def _place(protocol: Protocol, guard_place: str) -> TwinPlace:
    if protocol.place != "contract":
        return "frame" if protocol.place == "frame" else "input"
    return "input" if guard_place in ("input", "in-graph") else "frame"


def _batches(images: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _by_attack(plans: Sequence[AttackPlan]) -> list[tuple[AttackPlan, ...]]:
    """The plans of each attack, smallest budget first."""
    groups: dict[str, list[AttackPlan]] = {}
    for plan in plans:
        same = {key: value for key, value in plan.parameters.items() if key != "eps_8bit"}
        groups.setdefault(f"{plan.name} {plan.kind} {same} {plan.gradients} {plan.transfer}", []).append(plan)
    return [tuple(sorted(group, key=lambda plan: plan.eps_8bit or 0)) for group in groups.values()]


def _with_certificate(cell: Cell, scores: Sequence[Score], images: int) -> Cell:
    """With the certificate's shares and violations over all attempts; proven images are those of the first one."""
    blocks = sum(score.blocks for score in scores)
    if not blocks:
        return cell
    proven = [proven for score in scores for proven in score.proven][:images]
    return replace(
        cell,
        certified_share=sum(score.safe_blocks for score in scores) / blocks,
        violations=sum(score.violations for score in scores),
        proven=sum(proven),
    )


def _right(images: Sequence[Sample], scores: Sequence[Score], *, attacked: bool = True) -> np.ndarray[Any, Any]:
    """Which images kept their label; an attacked one that a detector refused has done no harm, a clean one is lost."""
    labels = np.array([label for score in scores for label in score.labels])[: len(images)]
    kept = labels == np.array([sample.label for sample in images])
    return kept | (labels == REFUSED) if attacked else kept
