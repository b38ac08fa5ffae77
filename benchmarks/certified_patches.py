"""Tries to break what is proven: every place and random contents; the share of time that a proof takes.

    python benchmarks/certified_patches.py MODEL.tflite --images test/ --patch-px 5 --limit 50 --contents 256
    python benchmarks/certified_patches.py MODEL.tflite --images test/ --times --against OTHER.tflite

The first counts violations over all places of a square on certified images, by the file itself. The second measures in
turns, in one process, what an answer takes with and without its proof, and beside another file.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import prepare, read_labeled_folder
from edgeguard.model import Model, load_model


def pictures(model: Model, folder: Path, limit: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Inputs of the model and their right output indices; the first of a fixed order."""
    contract = model.contract
    known = read_labeled_folder(folder, contract.labels, outputs=model.classes, background=contract.background)
    chosen = [known[k] for k in np.random.default_rng(0).permutation(len(known))[:limit]]
    return prepare(chosen, contract), [int(image.label or 0) + int(contract.background) for image in chosen]


def brute_force(model: Model, images: NDArray[np.uint8], truths: list[int], side: int, contents: int) -> bool:
    """Print how many patched pictures of certified images were tried, and violations; True for none."""
    assert model.votes is not None
    certifier, rng = model.votes.certifier, np.random.default_rng(1)
    tried = violations = certified = 0
    for image, truth in zip(images, truths, strict=True):
        votes = model.votes.integers(model.run(model.input_path.quantize(image)))
        if certifier.label(votes) != truth or certifier.margin(votes, truth, side) <= 0:
            continue
        certified += 1
        for y, x in product(range(image.shape[0] - side + 1), range(image.shape[1] - side + 1)):
            for number in range(contents):
                patched = image.copy()
                patched[y : y + side, x : x + side] = (
                    rng.choice([0, 255], (side, side, 3)) if number % 2 else rng.integers(0, 256, (side, side, 3))
                )
                found = model.votes.integers(model.run(model.input_path.quantize(patched)))
                violations += certifier.label(found) != truth
                tried += 1
        print(f"{certified} certified images, {tried} patched pictures, {violations} violations", flush=True)
    return violations == 0


def times(model: Model, other: Model | None, image: NDArray[np.uint8], rounds: int = 300) -> None:
    """Print medians of an answer without proof, with it, and of another file, in turns."""
    tensor = model.input_path.quantize(image)
    height, width = image.shape[:2]
    kinds: dict[str, Callable[[], object]] = {
        "the graph alone": lambda: model.run(tensor),
        "label and proof": lambda: model.read(model.run(tensor), width, height),
    }
    if other is not None:
        theirs = other.input_path.quantize(image)
        kinds["the other file"] = lambda: other.read(other.run(theirs), width, height)
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, call in kinds.items():
            began = time.perf_counter()
            call()
            found[name].append((time.perf_counter() - began) * 1e3)
    for name, values in found.items():
        print(f"{name}: median {statistics.median(values):.3f} ms, fastest {min(values):.3f} ms")


def main() -> None:
    """Try, or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--patch-px", type=int, default=5)
    parser.add_argument("--contents", type=int, default=256)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    model = load_model(options.model, threads=1)
    images, truths = pictures(model, options.images, options.limit)
    if options.times:
        times(model, None if options.against is None else load_model(options.against, threads=1), images[0])
    elif not brute_force(model, images, truths, options.patch_px, options.contents):
        sys.exit("a proven label fell: the proof is wrong")


if __name__ == "__main__":
    main()
