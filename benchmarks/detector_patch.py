"""Our vanishing patch beside the Adversarial Robustness Toolbox's AdversarialPatchPyTorch, at equal gradient steps.

    python benchmarks/detector_patch.py [--steps 240] [--batch 8] [--area 0.1]

Against the bundled card detector, on rendered views of the stop card at the model's input (192x144 pixels), the patch
pasted digitally on the middle of the sign, turned by up to 15 degrees; printing terms are off, as the toolbox has
none. Both are made on the same 96 views with Adam and the same number of gradient steps, and then pasted by the same
code on 48 other views, as whole levels; the .tflite itself is asked. The toolbox maximises the loss that detectors are
trained with (cross-entropy of every class in the cells of the object): that is what its estimator offers.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgeguard.datasets.objects import TrueBox
from edgeguard.demo.assets import bundled_detector
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.evaluate.detectors.candidates import Candidates
from edgeguard.evaluate.detectors.deployed import DeployedDetector
from edgeguard.evaluate.detectors.goals import overlaps
from edgeguard.evaluate.detectors.matching import average_precision, judged
from edgeguard.evaluate.detectors.twin import detector_twin
from edgeguard.evaluate.twin import Twin
from edgeguard.fieldtest.patches.detector import DetectorAttempt
from edgeguard.fieldtest.patches.detector_field import FieldCheck
from edgeguard.fieldtest.patches.guarded import GuardedTwin
from edgeguard.fieldtest.patches.optimize import Recipe, optimized
from edgeguard.fieldtest.patches.printing import View, pasted
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import control_picture
from edgeguard.fieldtest.virtual.field import SheetPainter, project
from edgeguard.model import load_model
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.scene.cards import CARDS
from edgeguard.scene.outlines import box_around, sign_outline
from edgeguard.statistics import wilson

CARD, TRAINED_ON, TESTED_ON, SIDE = "stop", 96, 48, 32
LABEL = CARDS.index(CARD)


class Views:
    """Views of the card at the model's input, the patch on the middle of the sign."""

    def __init__(self, first: int, count: int, area: float) -> None:
        self.area = area
        contract = load_model(bundled_detector()).contract
        check = FieldCheck(CARD, LABEL, views=first + count, distances_mm=(330.0, 700.0))
        painter = SheetPainter(*made_sheet(CARD, "clean", number=0))
        outline = np.concatenate([sign_outline(CARD) * 120.0, np.zeros((len(sign_outline(CARD)), 1))], axis=1)
        self.scenes: list[NDArray[np.float32]] = []
        self.boxes: list[tuple[float, float, float, float]] = []
        scale = contract.input.width / check.size[0]
        for stand in check.stands()[first:]:
            frame = painter.frame(stand, *check.size)
            box = box_around(project(outline, stand, *check.size), *check.size)
            assert box is not None
            self.scenes.append(crop_and_resize(frame, contract.input, contract.preprocess).astype(np.float32))
            self.boxes.append((box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale))

    def draw(self, rng: np.random.Generator) -> View:
        """See `Scenes`."""
        return self.view(int(rng.integers(len(self.scenes))), rng)

    def view(self, number: int, rng: np.random.Generator) -> View:
        """One of them, the patch at an angle drawn from `rng`."""
        x1, y1, x2, y2 = self.boxes[number]
        half = np.sqrt(self.area * (x2 - x1) * (y2 - y1)) / 2
        turn = np.deg2rad(rng.uniform(-15, 15))
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ spin
        corners = (square + np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - 0.5).astype(np.float32)
        pixels = self.scenes[number]
        return View(
            pixels, corners, np.ones_like(pixels), 0.0, 0.0, None, LABEL, is_printed=False,
            object_box=self.boxes[number],
        )  # fmt: skip


class Trained(torch.nn.Module):
    """A detector as the toolbox knows one: in training mode its loss."""

    def __init__(self, twin: Twin) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, x: torch.Tensor, y: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """(n, 3, h, w) in 0..1 and boxes in pixels to the cross-entropy of every class in the objects' cells."""
        found = self.twin.network(self.twin.prepared(255 * x))
        assert isinstance(found, Candidates)
        sides = torch.tensor([x.shape[3], x.shape[2]] * 2, dtype=torch.float32)
        losses = []
        for row, target in enumerate(y):
            overlap = overlaps(found.boxes[row].detach(), target["boxes"] / sides)
            hot = torch.zeros_like(found.logits[row])
            for column, label in enumerate(target["labels"].tolist()):
                hot[overlap[:, column] > 0.4, int(label)] = 1
            chosen = hot.sum(1) > 0
            losses.append(F.binary_cross_entropy_with_logits(found.logits[row][chosen], hot[chosen], reduction="sum"))
        return {"loss_classifier": torch.stack(losses).mean()}


def ours(twin: Twin, views: Views, steps: int, batch: int) -> NDArray[np.uint8]:
    """Our patch."""
    attempt = DetectorAttempt(GuardedTwin(twin, None, twin.contract), twin.contract, "vanish", None)
    recipe = Recipe(None, steps=steps, batch=batch, resolution=SIDE, smoothness=0, printability=0)
    with tempfile.TemporaryDirectory() as folder:
        return optimized(attempt, views, recipe, Path(folder) / "state.pt", "{}")


def toolbox(twin: Twin, views: Views, steps: int, batch: int) -> NDArray[np.uint8]:
    """The toolbox's patch: so many passes over the views that the gradient steps are as many."""
    from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

    make_torchvision_importable()
    from art.attacks.evasion import AdversarialPatchPyTorch
    from art.estimators.object_detection import PyTorchObjectDetector

    x = np.stack([scene.transpose(2, 0, 1) for scene in views.scenes]).astype(np.float32)
    y = [{"boxes": np.array([box], np.float32), "labels": np.array([LABEL]), "scores": np.ones(1, np.float32)}
         for box in views.boxes]  # fmt: skip
    height, width = x.shape[2:]
    masks = np.zeros((len(x), height, width), bool)
    sides = []
    for mask, (x1, y1, x2, y2) in zip(masks, views.boxes, strict=True):
        mask[round((y1 + y2) / 2), round((x1 + x2) / 2)] = True
        sides.append(float(np.sqrt(views.area * (x2 - x1) * (y2 - y1))) / min(height, width))
    estimator = PyTorchObjectDetector(
        Trained(twin), (3, height, width), clip_values=(0, 255), attack_losses=("loss_classifier",), device_type="cpu"
    )
    attack = AdversarialPatchPyTorch(
        estimator, rotation_max=15, scale_min=min(sides), scale_max=max(sides), learning_rate=10.0,
        max_iter=max(steps * batch // len(x), 1), batch_size=batch, patch_shape=(3, SIDE, SIDE), patch_type="square",
        optimizer="Adam", targeted=False, verbose=False,
    )  # fmt: skip
    patch, _ = attack.generate(x=x, y=y, mask=masks)
    return np.asarray(np.rint(np.clip(patch, 0, 255)).astype(np.uint8).transpose(1, 2, 0))


def measured(patch: NDArray[np.uint8] | None, views: Views) -> str:
    """How often the file finds the sign, and its average precision, with a patch on it."""
    deployed = DeployedDetector(load_model(bundled_detector()))
    path = InputPath(deployed.model.contract, profile=None, patch_guard=None)
    mask = torch.ones(SIDE, SIDE)
    truth, found = [], []
    for number in range(len(views.scenes)):
        view = views.view(number, np.random.default_rng([7, number]))
        frame = torch.from_numpy(view.scene).permute(2, 0, 1)
        if patch is not None:
            small = F.interpolate(torch.from_numpy(patch).permute(2, 0, 1).float()[None], (SIDE, SIDE))[0]
            frame = pasted(frame, small, mask, view.corners)
        shown = to_frames(frame.round().clamp(0, 255)[None])[0]
        outputs = deployed.model.run(path.quantize(shown))
        said = deployed.model.read(outputs, shown.shape[1], shown.shape[0]).boxes or ()
        truth.append([TrueBox(LABEL, views.boxes[number])])
        found.append([box for box in said if box.index == LABEL])
    hits = sum(judged(one, boxes).found[0] for one, boxes in zip(truth, found, strict=True))
    low, high = wilson(hits, len(truth))
    precision: Any = average_precision(truth, found)
    return (
        f"found {hits} of {len(truth)} [{100 * low:.0f}, {100 * high:.0f}] %, AP50 {100 * precision.ap50:.1f} "
        f"[{100 * precision.low50:.0f}, {100 * precision.high50:.0f}]"
    )


def main() -> None:
    """Make both, ask the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--area", type=float, default=0.1)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    made, fresh = Views(0, TRAINED_ON, chosen.area), Views(TRAINED_ON, TESTED_ON, chosen.area)
    twin = detector_twin(bundled_detector(), "input").undefended()
    print(f"nothing on it: {measured(None, fresh)}", flush=True)
    for arm in ("plain", "noise"):
        print(f"{arm}: {measured(control_picture(arm), fresh)}", flush=True)
    for name, make in {"ours": ours, "the toolbox's": toolbox}.items():
        began = time.monotonic()
        patch = make(twin, made, chosen.steps, chosen.batch)
        seconds = time.monotonic() - began
        print(f"{name}: {measured(patch, fresh)} ({chosen.steps} steps of {chosen.batch}, {seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
