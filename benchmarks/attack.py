"""What an attack costs beyond the gradients that it needs.

    python benchmarks/attack.py [--model MODEL.tflite] [--batch 10] [--rounds N]

PGD-40 of ours and of the Adversarial Robustness Toolbox against 40 bare forward and backward passes of the same twin,
the same batch and memory layout; all in turn, wall time, medians. The bare passes are 1.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from edgeguard.demo.assets import bundled_model
from edgeguard.evaluate import twin
from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.attacks.external import ArtAttack

STEPS = 40


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(bundled_model()), help="a .tflite classifier (default: the card model)")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    module = twin(arguments.model, place="input").undefended()
    size = module.contract.input
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (arguments.batch, 3, size.height, size.width), generator=generator).float()
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        labels = module(images).argmax(1)

    def bare() -> None:
        x = images.clone()
        for _ in range(STEPS):
            x = x.detach().requires_grad_(True)
            torch.autograd.grad(F.cross_entropy(module(x), labels, reduction="sum"), x)

    ours = attack("pgd", {"eps_8bit": 8, "steps": STEPS})
    parameters = {"max_iter": STEPS, "eps_step": 1 / 255, "num_random_init": 1, "batch_size": arguments.batch}
    library = ArtAttack(
        name="art", kind="ProjectedGradientDescentPyTorch", parameters={**parameters, "verbose": False}, eps_8bit=8
    )
    methods: dict[str, Callable[[], object]] = {
        f"{STEPS} forward and backward passes": bare,
        f"PGD-{STEPS}, ours": lambda: ours(module, images, labels),
        f"PGD-{STEPS}, Adversarial Robustness Toolbox": lambda: library(module, images, labels),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(arguments.rounds):
        for name, method in methods.items():
            began = time.perf_counter()
            method()
            times[name].append(time.perf_counter() - began)
    print(
        f"torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch}"
    )
    base = statistics.median(times[next(iter(methods))])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:44}{median / base:6.2f} ({median:6.2f} s)")


if __name__ == "__main__":
    main()
