"""What a watched process costs a frame, against the same graph in this process:

    python benchmarks/isolate.py [model.tflite ...] [--rounds 500]

Both run in turn, frame by frame, so that they see the same load of the machine. Printed is the median of the
differences, and beside it what one copy of the input costs here. Without models, graphs of one cheap operator are
built: what is measured then is nearly the process alone.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from model import crafted

from edgeguard.model.runtime import load_runner
from edgeguard.model.watched import WatchedRunner

_SIZES = ((224, 224), (320, 320), (640, 640), (1080, 1920))


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    models = {path.name: path.read_bytes() for path in options.models} or {
        f"mean of {height}x{width}x3": crafted.harmless(height, width) for height, width in _SIZES
    }
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds, ms")
    print(f"{'':34}{'here':>9}{'watched':>9}{'more':>9}{'p95':>9}{'a copy':>9}{'start':>9}")
    for name, data in models.items():
        print(_line(name, data, options.rounds, options.threads), flush=True)


def _line(name: str, data: bytes, rounds: int, threads: int) -> str:
    here = load_runner(data, threads=threads)
    began = time.perf_counter()
    with WatchedRunner(data, threads=threads) as watched:
        start_ms = (time.perf_counter() - began) * 1e3
        detail = here.inputs[0]
        rng = np.random.default_rng(0)
        frames = [(rng.random(detail["shape"]) * 255).astype(detail["dtype"]) for _ in range(4)]
        for frame in frames:
            assert all(np.array_equal(a, b) for a, b in zip(here.run_raw(frame), watched.run_raw(frame), strict=True))
        times = np.array([
            (_ms(here.run, frames[i % 4]), _ms(watched.run, frames[i % 4])) for i in range(rounds)
        ])  # fmt: skip
        target = np.empty_like(frames[0])
        copy_ms = float(np.median([_ms(np.copyto, target, frames[i % 4]) for i in range(rounds)]))
    more = times[:, 1] - times[:, 0]
    medians = *np.median(times, axis=0), np.median(more), np.percentile(more, 95), copy_ms, start_ms
    return f"{name:34}" + "".join(f"{value:9.3f}" for value in medians)


def _ms(call: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    main()
