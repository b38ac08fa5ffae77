"""From a camera's JPEG to a prediction: a model of coefficients against its pixel twin, one thread, int8.

    python benchmarks/coefficients.py [--sizes 224 96] [--rounds 60] [--without-amx]

The networks of examples/train-cifar10-dct.toml and -baseline.toml at the size of the picture (weights are random: they
do not change the time), converted with the guard examples/flat-8.toml. The JPEG has the model's size, as a camera that
is set to it gives. Three ways in turn: the coefficient model; the pixel twin behind the same guard; the pixel twin
without a guard (decode, resize, infer). Ratios are medians over the rounds, with the 10th and 90th percentile.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from without_amx import refuse_amx

from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.guard.passes import receive_jpeg, received_tensor
from edgeguard.model import ContractGuard, Model, load_model
from edgeguard.scene.views import random_view, render
from edgeguard.train.export import save_program
from edgeguard.train.networks import network
from edgeguard_converters.api import convert
from edgeguard_converters.verify.gates import Thresholds

LABELS = tuple(f"class {i}" for i in range(10))
PROFILE = GuardProfile.load(Path(__file__).parents[1] / "examples" / "flat-8.toml")


def main() -> None:
    """Convert both, time all ways in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 96])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--without-amx", action="store_true", help="leave the processor's matrix unit alone")
    options = parser.parse_args()
    if options.without_amx:
        refuse_amx()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            compare(size, options.rounds, Path(folder))


def compare(size: int, rounds: int, folder: Path) -> None:
    """Time the three ways at one size."""
    scene = render(random_view(np.random.default_rng(0), "stop", (2, 3)), 640, 480)
    jpegs = [encode_jpeg(np.ascontiguousarray(scene[y : y + size, 40 : 40 + size]), PROFILE) for y in range(0, 160, 16)]
    coefficients, pixels = (converted(name, size, folder) for name in ("dct11", "resnet11"))
    plain = replace(pixels.contract, guard=ContractGuard())

    def guarded(model: Model, data: bytes) -> None:
        model.infer(received_tensor(receive_jpeg(data, PROFILE), model.contract, PROFILE))

    ways: dict[str, Callable[[bytes], object]] = {
        "coefficients": lambda data: guarded(coefficients, data),
        "pixels, guarded": lambda data: guarded(pixels, data),
        "pixels, no guard": lambda data: pixels.infer(received_tensor(receive_jpeg(data, None), plain, None)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 3):
        for name, call in ways.items():
            began = time.perf_counter()
            call(jpegs[turn % len(jpegs)])
            if turn >= 3:
                times[name].append((time.perf_counter() - began) * 1e3)
    print(f"{size}x{size}, JPEG of {statistics.median(map(len, jpegs)):.0f} bytes")
    for name, found in times.items():
        print(f"  {name:18}{statistics.median(found):9.2f} ms", end="")
        if name != "coefficients":
            low, middle, high = np.percentile(np.array(found) / times["coefficients"], (10, 50, 90))
            print(f"   {middle:.2f} times the coefficients [{low:.2f}, {high:.2f}]", end="")
        print()


def converted(name: str, size: int, folder: Path) -> Model:
    """A network of that name and size as an int8 .tflite, loaded for one thread."""
    program, target = folder / f"{name}-{size}.pt2", folder / f"{name}-{size}.tflite"
    save_program(network(name, 10, 32, size, PROFILE).eval(), program, size=size, labels=LABELS, profile=PROFILE)
    rng = np.random.default_rng(1)
    frames = [render(random_view(rng, "stop", (2, 6)), 320, 240) for _ in range(8)]
    convert(
        program, output=target, calibration=frames, profile=PROFILE,
        ranges="minmax", thresholds=Thresholds(0.0, -1e3), io="int8",
    )  # fmt: skip
    return load_model(target, threads=1)


if __name__ == "__main__":
    main()
