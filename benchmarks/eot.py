"""How many draws an attack in expectation (EOT) needs: accuracy of randomised defences against the number of draws.

    python benchmarks/eot.py MODEL.tflite IMAGES [--defences shield resize-pad pixel-deflection] [--draws 1 5 20 40]
                             [--images 20] [--eps 2] [--steps 20]

PGD through the defence (its own code forward, the identity backward) at the model's input, each step over the mean
logits of so many draws; scored on draws that the attack has not seen. One process for each core. Where the last
columns still fall, 20 draws (what `edgeguard evaluate` takes) are too few.
"""

import argparse
import multiprocessing
import os
from pathlib import Path

import numpy as np
import torch

from edgeguard.datasets.images import read_labeled_folder
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.engine.targets import ExpectationOverTransformation, Target
from edgeguard.model import load_model
from edgeguard.statistics import wilson

SCORED_DRAWS = 10


def share_kept(work: tuple[Target, str, int, str, int, int, int]) -> float:
    """The share of fresh draws that still give an attacked image its label."""
    target, defense, draws, path, label, eps_8bit, steps = work
    torch.set_num_threads(1)
    frame = target.read(path)
    victim = ExpectationOverTransformation(target.victim(defense, "identity", seed=1), draws)
    made = attack("pgd", {"eps_8bit": eps_8bit, "steps": steps})
    found = to_frames(made(victim, to_levels(frame[None]), torch.tensor([label])))[0]
    shown = target.defense(defense)
    return float(np.mean([target.labels([shown(found, 1_000_000 + k)])[0] == label for k in range(SCORED_DRAWS)]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--defences", nargs="+", default=["shield", "resize-pad", "pixel-deflection"])
    parser.add_argument("--draws", nargs="+", type=int, default=[1, 5, 20, 40])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--eps", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    os.environ["EDGEGUARD_EVALUATE_WORKER"] = "1"  # one thread for the interpreter
    contract = load_model(arguments.model).contract
    target = Target(arguments.model, "input")
    chosen: list[tuple[str, int]] = []
    for image in read_labeled_folder(Path(arguments.folder), contract.labels):
        path, label = str(image.data), int(image.label or 0) + int(contract.background)
        if len(chosen) < arguments.images and target.labels([target.read(path)])[0] == label:
            chosen.append((path, label))
    print(f"accuracy in % over {len(chosen)} images x {SCORED_DRAWS} fresh draws; Wilson's interval is of the images")
    print("| defence | " + " | ".join(f"{n} draws" for n in arguments.draws) + " |")
    print("|---" * (len(arguments.draws) + 1) + "|")
    with multiprocessing.get_context("spawn").Pool() as pool:
        for defense in arguments.defences:
            cells = []
            for draws in arguments.draws:
                work = [(target, defense, draws, *item, arguments.eps, arguments.steps) for item in chosen]
                mean = float(np.mean(pool.map(share_kept, work, chunksize=1)))
                low, high = wilson(round(mean * len(chosen)), len(chosen))
                cells.append(f"{100 * mean:.0f} [{100 * low:.0f}, {100 * high:.0f}]")
            print(f"| {defense} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
