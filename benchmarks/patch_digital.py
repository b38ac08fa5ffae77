"""Our patch beside the Adversarial Robustness Toolbox's at the same number of gradient steps: digital placement.

    python benchmarks/patch_digital.py MODEL.tflite IMAGES [--target LABEL] [--area 0.1] [--steps 480] [--batch 16]

Both are optimised on the first 240 labelled photographs at the model's input, anywhere, turned by up to 22.5 degrees,
for one target, with Adam. Both are then pasted by the same code at the same places on 200 other photographs, as whole
levels, and the .tflite itself is asked. Printing terms are off, as the toolbox has none.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.evaluate import twin
from edgeguard.evaluate.attacks.external import _UnitVictim
from edgeguard.fieldtest.patches.job import label_index
from edgeguard.fieldtest.patches.optimize import Recipe, make_patch
from edgeguard.fieldtest.patches.printing import pasted
from edgeguard.fieldtest.patches.scenes import PhotographScenes, photographs_in
from edgeguard.model import Model, load_model
from edgeguard.preprocess.geometry import quantize_input
from edgeguard.statistics import wilson

TRAINED_ON, TESTED_ON = 240, 200


def ours(
    module: torch.nn.Module, scenes: PhotographScenes, target: int, steps: int, batch: int, side: int
) -> NDArray[np.uint8]:
    """Our patch."""
    recipe = Recipe(target, steps=steps, batch=batch, resolution=side, smoothness=0, printability=0)
    with tempfile.TemporaryDirectory() as folder:
        return make_patch(module, scenes, recipe, Path(folder) / "state.pt", "{}")


def toolbox(
    module: torch.nn.Module, scenes: PhotographScenes, target: int, steps: int, batch: int, side: int, area: float
) -> NDArray[np.uint8]:
    """The toolbox's patch: so many passes over the photographs that the gradient steps are as many."""
    from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

    make_torchvision_importable()  # the toolbox's patch turns pictures with it
    from art.attacks.evasion import AdversarialPatchPyTorch
    from art.estimators.classification import PyTorchClassifier

    rng = np.random.default_rng(0)
    x = np.stack([scenes.view(image, rng).scene.transpose(2, 0, 1) / 255 for image in scenes.images]).astype(np.float32)
    with torch.no_grad():
        classes = int(module(torch.zeros(1, *x.shape[1:])).shape[1])
    estimator = PyTorchClassifier(
        _UnitVictim(module),
        torch.nn.CrossEntropyLoss(),
        x.shape[1:],
        classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = AdversarialPatchPyTorch(
        estimator, rotation_max=22.5, scale_min=area**0.5, scale_max=area**0.5 + 1e-4, learning_rate=0.05,
        max_iter=steps * batch // len(x), batch_size=batch, patch_shape=(3, side, side), patch_type="square",
        optimizer="Adam", targeted=True, verbose=False,
    )  # fmt: skip
    y = np.eye(classes, dtype=np.float32)[np.full(len(x), target)]
    patch, _ = attack.generate(x, y)
    return np.asarray(np.rint(np.clip(patch, 0, 1) * 255), np.uint8).transpose(1, 2, 0)


def success(
    model: Model, patch: NDArray[np.uint8], images: list[LabeledImage], area: float, target: int
) -> tuple[int, int]:
    """How often the file says the target with the patch on it; photographs of the target class are left out."""
    scenes = PhotographScenes(images, model.contract, area)
    content = torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1).float()
    hits = n = 0
    for index, image in enumerate(images):
        view = scenes.view(image, np.random.default_rng([99, index]))
        if view.label == target:
            continue
        levels = pasted(
            torch.from_numpy(view.scene).permute(2, 0, 1), content, torch.ones(content.shape[1:]), view.corners
        )
        tensor = quantize_input(to_frames(levels[None])[0], model.contract.input, model.contract.preprocess)
        hits += int(model.infer(tensor).argmax()) == target
        n += 1
    return hits, n


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--target", default="toaster")
    parser.add_argument("--area", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=72)
    options = parser.parse_args()
    model, module = load_model(options.model), twin(options.model, place="input").undefended()
    target = label_index(model.contract, options.target)
    images = photographs_in(options.images, model.contract, model.classes)
    order = np.random.default_rng(0).permutation(len(images))
    images = [images[k] for k in order]
    train, test = images[:TRAINED_ON], images[TRAINED_ON : TRAINED_ON + TESTED_ON]
    scenes = PhotographScenes(train, model.contract, options.area)
    print(f"| patch, {options.steps} steps of {options.batch} | targeted, other photographs | minutes |")
    print("|---|---|---|")
    common = (target, options.steps, options.batch, options.side)
    for name, method in (
        ("ours", lambda: ours(module, scenes, *common)),
        ("Adversarial Robustness Toolbox", lambda: toolbox(module, scenes, *common, options.area)),
    ):
        began = time.perf_counter()
        hits, n = success(model, method(), test, options.area, target)
        low, high = wilson(hits, n)
        minutes = (time.perf_counter() - began) / 60
        print(
            f"| {name} | {100 * hits / n:.1f} % [{100 * low:.0f}, {100 * high:.0f}], n {n} | {minutes:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
