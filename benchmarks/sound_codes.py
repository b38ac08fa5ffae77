"""What an order of codewords is worth: classifiers of sound on features, codes in both orders, a binary first layer.

    python -m benchmarks.sound_codes DATA.zip --output FOLDER [--features stft|logmel] [--epochs 12] [--seeds 5]
        [--leave-out all] [--minutes 60]

Each variant is trained with each seed and equally many epochs, clips as they are (no augmentation). What is done stays
in FOLDER, so an interrupted run goes on. The table has the median over seeds, the mean with its interval, and the
difference to float features. Intervals resample the test clips, each with its answers of all seeds.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.audio_training.config import SoundConfig
from edgeguard.audio_training.run import ANSWERS, train_sound
from edgeguard.statistics import bootstrap_difference

VARIANTS: dict[str, dict[str, Any]] = {
    "float": {},
    "codes, tour": {"codec": "vq:16", "input": "codes"},
    "codes, k-means": {"codec": "vq:16", "input": "codes", "order": "kmeans"},
    "codes, tour, binary": {"codec": "vq:16", "input": "codes", "first_layer": "binary"},
    "decoded": {"codec": "vq:16"},
}


class _OutOfTime(Exception):
    """The minutes are over."""


def main() -> None:
    """Train what is missing, print what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--features", default="stft")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--leave-out")
    parser.add_argument("--minutes", type=float, default=600)
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    base = SoundConfig(
        data=options.data, features=options.features, epochs=options.epochs, shift=False, noise_db=-100.0, gain_db=0.0,
        leave_out=options.leave_out,
    )  # fmt: skip

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() > ends:
            raise _OutOfTime

    try:
        for seed in range(options.seeds):
            for name in options.variants:
                folder = _folder(options.output, name, seed)
                if not (folder / "done").is_file():
                    train_sound(replace(base, seed=seed, **VARIANTS[name]), folder, progress=progress)
                    (folder / "done").touch()
                    print(f"{name}, seed {seed}: done", flush=True)
    except _OutOfTime:
        print("out of time: run again to go on")
    _table(options.output, options.variants, options.seeds)


def _folder(output: Path, name: str, seed: int) -> Path:
    return output / f"{name.replace(', ', '-')}-{seed}"


def _table(output: Path, variants: list[str], seeds: int) -> None:
    right = {(name, seed): _right(_folder(output, name, seed)) for name in variants for seed in range(seeds)}
    print(f"{'':22s} {'seeds':>5s} {'clips':>6s} {'median':>7s} {'mean, 95 %':>20s} {'less float, paired':>22s}")
    for name in variants:
        done = [seed for seed in range(seeds) if right[name, seed]]
        if not done:
            continue
        each = [sum(right[name, seed].values()) / len(right[name, seed]) for seed in done]
        shares = _shares(right, name, done)
        low, high = bootstrap_difference(shares, np.zeros_like(shares), _mean)
        print(
            f"{name:22s} {len(done):5d} {len(shares):6d} {100 * median(each):6.1f}% {100 * _mean(shares):6.1f} "
            f"[{100 * low:.1f}, {100 * high:.1f}] {_paired(right, name, done):>22s}"
        )


def _shares(right: dict[tuple[str, int], dict[str, bool]], name: str, seeds: list[int]) -> NDArray[np.float64]:
    """For each clip, in how many of the seeds its answer is right, 0..1: answers to one clip depend on each other."""
    clips = sorted(right[name, seeds[0]])
    return np.array([[right[name, seed][clip] for seed in seeds] for clip in clips], np.float64).mean(1)


def _mean(shares: NDArray[np.float64]) -> float:
    return float(shares.mean())


def _paired(right: dict[tuple[str, int], dict[str, bool]], name: str, done: list[int]) -> str:
    both = [seed for seed in done if right.get(("float", seed))]
    if name == "float" or not both:
        return ""
    own, other = _shares(right, name, both), _shares(right, "float", both)
    low, high = bootstrap_difference(own, other, _mean)
    return f"{100 * _mean(own - other):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _right(folder: Path) -> dict[str, bool]:
    """Whether each test clip's answer is right, by its name; of folds all together. Empty where it is not done."""
    if not (folder / "done").is_file():
        return {}
    found = {}
    for path in folder.rglob(ANSWERS):
        answers = json.loads(path.read_text("utf-8"))
        for name, target, answer in zip(answers["names"], answers["targets"], answers["answers"], strict=True):
            found[name] = target == answer
    return found


if __name__ == "__main__":
    main()
