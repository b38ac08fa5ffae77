"""Units of work: each can run on any core or machine, and its result is kept under the hash of what it came from."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.evaluate.attacks import Attack, attack
from edgeguard.evaluate.defenses.codecs import in_pass
from edgeguard.evaluate.defenses.registry import guard_of, profile_files
from edgeguard.evaluate.engine.store import AdversarialImages, of_picture
from edgeguard.evaluate.engine.targeted import TargetedVictim
from edgeguard.evaluate.engine.targets import ExpectationOverTransformation, Frame, Target
from edgeguard.evaluate.protocol import AttackPlan, When
from edgeguard.guard import certificate

_EOT_DRAWS = 20
REFUSED = -1  #: the label of an image that a detector does not let pass


@dataclass(frozen=True)
class Sample:
    """An image file with its right output index and the hash of its bytes."""

    path: str
    label: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class AttackJob:
    """Make adversarial images of one batch.

    Attributes:
        target: the model that the attacker has.
        plan: the attack.
        samples: the images of the batch.
        first_pass: the defense that touched the images before the attacker did (pass 1), or `none`.
        defense: what the attacker differentiates through, or `none` for the undefended model.
        backward: the derivative of that defense.
        seed: of everything random.
        model_sha256, guard_sha256: of the target's file, and of the profiles of `first_pass` and `defense`.
    """

    target: Target
    plan: AttackPlan
    samples: tuple[Sample, ...]
    first_pass: str
    defense: str
    backward: Backward
    seed: int
    model_sha256: str
    guard_sha256: str

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads."""
        return _files(self.target, self.samples, self.first_pass, self.defense)

    def before(self, sample: Sample) -> Frame:
        """An image as the attacker finds it: as it is, or as pass 1 leaves it."""
        return in_pass(self.target.defense(self.first_pass), "first", self.target.read(sample.path), self.seed)

    @property
    def key(self) -> str:
        """Names the result: the SHA-256 of everything that it depends on, paths left out."""
        described = {
            "version": 1,
            "model": self.model_sha256,
            "guard": self.guard_sha256,
            "place": self.target.place,
            "attack": [self.plan.kind, self.plan.parameters],
            "samples": [[sample.sha256, sample.label] for sample in self.samples],
            "through": [self.first_pass, self.defense, self.backward],
            "seed": self.seed,
            **({} if self.plan.target is None else {"target": self.plan.target}),
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """The deployed file's labels of adversarial images behind a defense.

    Attributes:
        target: the deployed file.
        samples: the images as they were before the attack.
        defense: its name.
        when: how the perturbation meets the defense; see `protocol.When`.
        seed: of a randomized defense, for the first image; the next ones count on.
        adversarial: the changed images, uint8 (height, width, 3) each, or None for the clean images.
        count_blocks: count blocks that the certificate calls safe and that changed all the same.
        eps_8bit: from how many levels they are safe.
        fidelity: measure what is left of the picture, and how sure the answer is.
    """

    target: Target
    samples: tuple[Sample, ...]
    defense: str
    when: When
    seed: int
    adversarial: tuple[Frame, ...] | None = None
    count_blocks: bool = False
    eps_8bit: float = 1
    fidelity: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that it reads."""
        return _files(self.target, self.samples, self.defense)


@dataclass(frozen=True)
class Score:
    """Of one `ScoreJob`: labels (`REFUSED` where a detector raised its alarm), and for the certificate the blocks that
    were safe, all of them, and violations.

    `proven` says of each image whether all blocks that the model's crop reads were safe; empty where none were counted.
    `fidelity` has a row for each image where it was measured.
    """

    labels: tuple[int, ...]
    _: KW_ONLY
    safe_blocks: int = 0
    blocks: int = 0
    violations: int = 0
    proven: tuple[bool, ...] = ()
    fidelity: tuple["Fidelity", ...] = ()


@dataclass(frozen=True)
class Fidelity:
    """Of one image.

    Attributes:
        confidence: the model's largest probability, negative where the label is wrong.
        ms_ssim, psnr_db: of what the model is shown, against the image before the attack.
    """

    confidence: float
    ms_ssim: float
    psnr_db: float


def run_attack(job: AttackJob) -> AdversarialImages:
    """Make a batch's adversarial images.

    Raises:
        InputError: the attack needs a package that is not there, or does not take its parameters.
    """
    began = time.perf_counter()
    target, plan = job.target, job.plan
    frames = [job.before(sample) for sample in job.samples]
    made = attack(plan.kind, plan.parameters)
    labels = torch.tensor([sample.label if plan.target is None else 0 for sample in job.samples])
    found: list[Frame] = list(frames)
    for group in _same_sizes(frames):
        part = None if plan.gradient_free else target.part(job.defense, frames[group[0]])
        victim: torch.nn.Module = target.victim(
            job.defense, job.backward, gradient_free=plan.gradient_free, seed=job.seed, part=part,
            which="only" if job.first_pass == "none" else "second",
        )  # fmt: skip
        if target.defense(job.defense).randomized and not plan.gradient_free:
            victim = ExpectationOverTransformation(victim, _EOT_DRAWS)
        if plan.target is not None:
            victim = TargetedVictim(victim, plan.target)
        shown = [frames[i] if part is None else part.of(frames[i]) for i in group]
        for index, changed in zip(group, _attacked(made, victim, shown, labels[group], job.seed), strict=True):
            found[index] = changed if part is None else part.pasted(frames[index], changed)
    return AdversarialImages(tuple(found), time.perf_counter() - began)


def _files(target: Target, samples: Sequence[Sample], *defenses: str) -> tuple[str, ...]:
    return (target.model, *target.library, *profile_files(defenses), *(sample.path for sample in samples))


def _attacked(
    made: Attack, victim: torch.nn.Module, frames: Sequence[Frame], labels: torch.Tensor, seed: int
) -> NDArray[np.uint8]:
    levels = to_levels(np.stack(frames)).contiguous(memory_format=torch.channels_last)
    return to_frames(made(victim, levels, labels, seed=seed))


def _same_sizes(frames: Sequence[Frame]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, frame in enumerate(frames):
        groups.setdefault(frame.shape, []).append(index)
    return list(groups.values())


def run_score(job: ScoreJob) -> Score:
    """What the deployed file says behind the defence."""
    target, defense = job.target, job.target.defense(job.defense)
    labels, counts, kept = [], list[BlockCounts](), list[Fidelity]()
    for index, sample in enumerate(job.samples):
        raw = target.read(sample.path)
        seed = job.seed + index
        two_passes = job.when != "once"
        first = in_pass(defense, "first", raw, seed) if two_passes else raw
        if job.adversarial is None:
            received = first
        else:
            changed = of_picture(job.adversarial[index], raw)
            received = _received(raw, first, changed, job.when)
            if job.when == "before":
                received = in_pass(defense, "first", changed, seed)
        shown = in_pass(defense, "second" if two_passes else "only", received, seed)
        labels.append(REFUSED if target.refuses(job.defense, shown) else target.labels([shown])[0])
        if job.fidelity:
            kept.append(_fidelity(target, raw, shown, sample.label))
        if job.count_blocks:
            counted = _counted(target, job.defense, first, shown, in_pass(defense, "second", first, seed), job.eps_8bit)
            counts += [] if counted is None else [counted]
    return Score(
        tuple(labels),
        safe_blocks=sum(c.safe for c in counts),
        blocks=sum(c.blocks for c in counts),
        violations=sum(c.violations for c in counts),
        proven=tuple(c.proven for c in counts),
        fidelity=tuple(kept),
    )


def _fidelity(target: Target, raw: Frame, shown: Frame, label: int) -> Fidelity:
    from edgeguard.evaluate.fidelity import ms_ssim, psnr_db  # few protocols want it

    probabilities = target.probabilities(shown)
    sign = 1 if int(probabilities.argmax()) == label else -1
    return Fidelity(sign * float(probabilities.max()), ms_ssim(raw, shown), psnr_db(raw, shown))


def _received(raw: Frame, first: Frame, changed: Frame, when: When) -> Frame:
    """What pass 2 (or the only pass) receives."""
    if when != "added":
        return changed
    delta = changed.astype(np.int16) - raw
    return (first.astype(np.int16) + delta).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class BlockCounts:
    """Of one image: blocks that are certified, all blocks, certified ones that changed; whether all read ones are."""

    safe: int
    blocks: int
    violations: int
    proven: bool


def _counted(
    target: Target, name: str, received: Frame, shown: Frame, unattacked: Frame, eps_8bit: float
) -> BlockCounts | None:
    """None where there is no certificate."""
    guard = guard_of(target.defense(name))
    proof = None if guard is None else certificate(received, guard.profile)
    if proof is None:
        return None
    changed: NDArray[np.bool_] = shown != unattacked
    height, width, channels = changed.shape
    padded = np.pad(changed, ((0, -height % 8), (0, -width % 8), (0, 0)))
    by_block = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8, channels).any((1, 3))
    safe: NDArray[np.bool_] = proof.map > eps_8bit  # (rows, columns, channels), one channel for a gray profile
    if safe.shape[2] == 1:
        by_block = by_block.max(2, keepdims=True)
    part = target.part(name, received)
    read = safe if part is None else safe[part.blocks()]
    return BlockCounts(int(safe.sum()), safe.size, int((safe & by_block).sum()), bool(read.all()))
