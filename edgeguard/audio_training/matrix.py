"""Classifiers of sound by the codec that they were trained with, against the codec at test time and against attacks.

    clean      no attack
    naive      made on the network without any codec, heard through the test codec: an attacker who does not know it
    adaptive   made through the test codec (BPDA): an attacker who does; `lattice` moves indices of the guard's grid

Figures of codecs against sound attacks in the literature (Rajaratnam et al. 2018, Andronic et al. 2020) are of naive
attackers. They are no evidence of robustness.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.audio.codecs import SoundCodec, sound_codec
from edgeguard.audio.path import SoundPath
from edgeguard.audio_training.data import Clips, read_sound
from edgeguard.audio_training.frame_lattice import FrameLattice
from edgeguard.audio_training.restore import RestoredSound
from edgeguard.audio_training.victim import SoundVictim, relative_db, unit_of
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import Attack
from edgeguard.evaluate.attacks.carlini_wagner import CarliniWagnerL2
from edgeguard.evaluate.attacks.gradient import Fgsm, Pgd
from edgeguard.evaluate.reports.folder import EVALUATION, claim
from edgeguard.statistics import wilson
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, lines_of, of_type, parsing, read_bounded
from edgeguard.system.outputs import into_folder

_log = logging.getLogger(__name__)
_BATCH = 50
_LARGEST_RESULTS, _MOST_ROWS = 64 << 20, 100_000  # bytes; cells
_LARGEST_EPS = 16384  # 16-bit steps
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SoundPlan:
    """What is measured.

    Attributes:
        codecs: of samples at test time.
        eps_steps: budgets of FGSM, PGD and the lattice attack, in 16-bit steps.
        clips: of the test part, classes balanced.
        pgd_steps: of PGD.
        cw_clips: clips for the attack of Carlini and Wagner, which looks for the smallest change; 0: none.
        seed: of everything random.
    """

    codecs: tuple[str, ...] = ("none", "mp3", "opus:0.8", "vorbis:0.8", "dct:280")
    eps_steps: tuple[int, ...] = (8, 32, 128)
    clips: int = 100
    pgd_steps: int = 20
    cw_clips: int = 20
    seed: int = 0


@dataclass(frozen=True)
class SoundCell:
    """A row of the table.

    Attributes:
        run: the model's name.
        codec: at test time.
        attack: `clean`, `fgsm`, `pgd`, `lattice` or `cw-l2`.
        knows: `naive` or `adaptive`; empty for clean.
        eps_steps: budget in 16-bit steps; None where there is none.
        n, correct: clips, and of these still right.
        db: median of the largest change against the clip, of the clips that were changed.
        stored_bytes: of a clip's features in memory.
        coded_bytes: mean size of a clip as the test codec writes it; samples of 16 bits without.
        clips_per_s: codec, features and network, one core.
    """

    run: str
    codec: str
    attack: str
    knows: str
    eps_steps: int | None
    n: int
    correct: int
    db: float | None = None
    stored_bytes: int | None = None
    coded_bytes: int | None = None
    clips_per_s: float | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, 95 %."""
        return wilson(self.correct, self.n)

    @property
    def title(self) -> str:
        """Attack, what its maker knows, and budget."""
        budget = "" if self.eps_steps is None else f" {self.eps_steps} steps"
        return f"{self.knows} {self.attack}{budget}".strip()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        low, high = self.interval
        return {**asdict(self), "accuracy": self.correct / self.n, "low": low, "high": high}


@into_folder("folder", EVALUATION)
def sound_matrix(
    runs: Sequence[RestoredSound],
    data: str,
    plan: SoundPlan,
    folder: Path,
    progress: Progress = lambda what, done, total: None,
) -> tuple[list[SoundCell], str]:
    """Measure, or go on with a measurement that was interrupted (finished rows are kept in `folder`).

    Args:
        runs: trained models. Each is measured on its own test part: of a fold, on the speaker left out.
        data: the folder or .zip.
        plan: what is measured.
        folder: gets results.jsonl.
        progress: called with what is next, rows done, rows in all.

    Returns:
        The rows, and what the clips are in words.

    Raises:
        InputError: what does not fit together.
        DeviceError: the folder cannot be written.
    """
    _check(runs, plan)
    claim(
        folder, {"protocol": "sound-matrix", "models": [run.sha256 for run in runs], "plan": repr(plan), "data": data}
    )
    path = folder / "results.jsonl"
    found = _kept(path)
    known = {(c.run, c.codec, c.title) for c in found}
    sources = []
    total = sum(len(_rows(plan)) for _ in runs)
    for run in runs:
        part = read_sound(replace(run.config, data=data, limit=0)).test
        clips = _balanced(part, plan.clips)
        sources.append(f"{run.name}: {len(clips)} test clips")
        bench = _Bench(run, clips, plan)
        for codec, attack, knows, eps in _rows(plan):
            cell = SoundCell(run.name, codec, attack, knows, eps, 1, 0)
            if (run.name, codec, cell.title) in known:
                continue
            progress(f"{run.name}, {codec}, {cell.title}", len(found), total)
            found.append(bench.measure(sound_codec(codec), cell))
            write_bytes(path, "".join(json.dumps(one.to_dict()) + "\n" for one in found).encode())
    return found, "; ".join(sources)


class _Bench:
    """One model on its clips, a cell at a time; naive attacks are made once."""

    def __init__(self, run: RestoredSound, clips: Clips, plan: SoundPlan) -> None:
        self._run, self._plan, self._targets = run, plan, clips.targets
        spec = run.spec if run.spec.codebook is not None else replace(run.spec, codec="none")
        self._spec = spec
        # windows are whole frames of the guard, so that every codec gets the same samples
        framed = SoundPath(replace(spec, codec="dct:280", codebook=None, reads="decoded"))
        self._windows = np.stack([framed.placed(samples)[0] for samples in clips.samples])
        self._naive: dict[tuple[str, int | None], NDArray[np.int16]] = {}

    def measure(self, codec: SoundCodec, cell: SoundCell) -> SoundCell:
        if cell.attack == "clean":
            began = time.perf_counter()
            correct = self._right(self._windows, codec)
            seconds = time.perf_counter() - began
            return replace(
                cell, n=len(self._windows), correct=correct, stored_bytes=self._run.spec.stored_bytes,
                coded_bytes=self._coded_bytes(codec), clips_per_s=round(len(self._windows) / seconds, 1),
            )  # fmt: skip
        changed = self._changed(cell, codec)
        n = len(changed)
        correct = self._right(changed, codec)
        sizes = relative_db(self._windows[:n], changed)
        sizes = sizes[np.isfinite(sizes)]
        return replace(cell, n=n, correct=correct, db=round(float(np.median(sizes)), 1) if len(sizes) else None)

    def _changed(self, cell: SoundCell, codec: SoundCodec) -> NDArray[np.int16]:
        if cell.knows == "adaptive":
            return self._attack(cell, codec)
        key = cell.attack, cell.eps_steps
        if key not in self._naive:
            self._naive[key] = self._attack(cell, SoundCodec("none"))
        return self._naive[key]

    def _attack(self, cell: SoundCell, codec: SoundCodec) -> NDArray[np.int16]:
        if cell.attack == "lattice":
            return self._lattice(cell, codec)
        attack, unit = attack_of(cell.attack, cell.eps_steps, self._plan.pgd_steps)
        n = min(self._plan.cw_clips, len(self._windows)) if cell.attack == "cw-l2" else len(self._windows)
        parts = []
        for start in range(0, n, _BATCH):
            rows = slice(start, min(start + _BATCH, n))
            victim = SoundVictim(self._run.network, self._spec, codec, self._windows[rows], unit)
            labels = torch.from_numpy(self._targets[rows])
            parts.append(victim.samples(attack(victim, victim.start, labels, self._plan.seed)))
        return np.concatenate(parts)

    def _lattice(self, cell: SoundCell, codec: SoundCodec) -> NDArray[np.int16]:
        assert codec.guard is not None and cell.eps_steps is not None
        attack, parts = FrameLattice(codec.guard, cell.eps_steps), []
        for start in range(0, len(self._windows), _BATCH):
            rows = slice(start, start + _BATCH)
            victim = SoundVictim(self._run.network, self._spec, codec, self._windows[rows])
            parts.append(attack(victim, torch.from_numpy(self._targets[rows]), self._plan.seed))
        return np.concatenate(parts)

    def _right(self, windows: NDArray[np.int16], codec: SoundCodec) -> int:
        victim = SoundVictim(self._run.network, self._spec, codec, windows)
        with torch.no_grad():
            answers = victim(victim.start).argmax(1).numpy()
        return int((answers == self._targets[: len(windows)]).sum())

    def _coded_bytes(self, codec: SoundCodec) -> int:
        if codec.kind in ("none", "dct"):
            return 2 * self._spec.samples
        sizes = [len(codec.encode(w[: self._spec.samples], self._spec.rate_hz)) for w in self._windows[:_BATCH]]
        return round(float(np.mean(sizes)))


def attack_of(kind: str, eps_steps: int | None, pgd_steps: int) -> tuple[Attack, int]:
    """An attack on samples, and the 16-bit steps of its levels."""
    if kind == "cw-l2":
        return CarliniWagnerL2(targeted_next=False, confidence=0.0, learning_rate=0.02), unit_of(1016)
    assert eps_steps is not None
    unit = unit_of(eps_steps)
    eps = float(eps_steps // unit)
    return (Fgsm(eps_8bit=eps) if kind == "fgsm" else Pgd(eps_8bit=eps, steps=pgd_steps)), unit


def plan_of(*, codecs: Sequence[str] | None, eps: Sequence[float] | None, clips: int | None) -> SoundPlan:
    """A plan from what was given; None takes the default.

    Raises:
        InputError: a budget that is no whole number.
    """
    default = SoundPlan()
    if any(one != int(one) for one in eps or ()):
        raise InputError("--eps is a whole number of 16-bit steps here")
    return SoundPlan(
        tuple(dict.fromkeys(codecs or default.codecs)),
        tuple(int(one) for one in eps or default.eps_steps),
        clips or default.clips,
    )


def _rows(plan: SoundPlan) -> list[tuple[str, str, str, int | None]]:
    rows: list[tuple[str, str, str, int | None]] = []
    for codec in plan.codecs:
        rows.append((codec, "clean", "", None))
        # without a codec there is nothing to know
        for knows in ("adaptive",) if codec == "none" else ("naive", "adaptive"):
            rows += [(codec, attack, knows, eps) for attack in ("fgsm", "pgd") for eps in plan.eps_steps]
            if knows == "adaptive" and sound_codec(codec).guard is not None:
                rows += [(codec, "lattice", knows, eps) for eps in plan.eps_steps]
            if plan.cw_clips:
                rows.append((codec, "cw-l2", knows, None))
    return rows


def _check(runs: Sequence[RestoredSound], plan: SoundPlan) -> None:
    for name in plan.codecs:
        if sound_codec(name).kind == "vq":
            raise InputError(f"--codec {name} is no codec of samples: a codebook belongs to the model")
        for run in runs:
            sound_codec(name).check_rate(run.spec.rate_hz)
    for eps in plan.eps_steps:
        if not 1 <= eps <= _LARGEST_EPS or eps % unit_of(eps):
            raise InputError(
                f"--eps is in 16-bit steps here, 1 to {_LARGEST_EPS}; above 127 a multiple of {unit_of(eps)}, got {eps}"
            )
    if len({run.name for run in runs}) != len(runs):
        raise InputError("two runs have the same folder name: rename one")


def _balanced(part: Clips, most: int) -> Clips:
    """At most so many clips, classes in turn."""
    order = np.argsort(_turns(part.targets), kind="stable")[:most]
    order = np.sort(order)
    return Clips(tuple(part.samples[i] for i in order), part.targets[order], tuple(part.names[i] for i in order))


def _turns(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of its class came before each."""
    seen: dict[int, int] = {}
    turns = []
    for target in targets.tolist():
        turns.append(seen.get(target, 0))
        seen[target] = turns[-1] + 1
    return np.array(turns)


def _kept(path: Path) -> list[SoundCell]:
    if not path.is_file():
        return []
    names = SoundCell.__dataclass_fields__
    raw = read_bounded(path, _LARGEST_RESULTS, "the results")
    with parsing(str(path)):
        rows = (foreign_json(line) for line in lines_of(raw, _MOST_ROWS))
        cells = [of_type(SoundCell, {name: row[name] for name in names}) for row in rows]
        if not all(0 <= cell.correct <= cell.n and cell.n > 0 for cell in cells):
            raise ValueError("a row has more right clips than clips, or none")
        return cells
