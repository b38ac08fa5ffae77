"""Train the card detector on one core in less than an hour, and convert it.

    python -m edgeguard.demo.train_detector --output detector/
    python -m edgeguard.demo.train_detector --output detector/ --photographs photos/ --signs gtsrb-large.zip

Run it again after an interruption: scenes are kept in parts of 250, the training in a checkpoint after each round.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.demo.detector_scenes import Material, drawn_scene
from edgeguard.model.contract import InputSpec, Preprocess
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.scene.cards import CARDS
from edgeguard.system.files import replaced
from edgeguard.train.card_detector import COLUMNS, HEIGHT, ROWS, WIDTH, CardDetector
from edgeguard.train.layers import in_layout

PREPROCESS = Preprocess("none", 1.0, mean=(127.5,) * 3, std=(127.5,) * 3)
_KEPT = (256, 192)
_PART = 250
_MOST_OBJECTS = 4
_CALIBRATION = 96
_NOTHING = -1.0
_BATCH, _LEARNING_RATE, _WEIGHT_DECAY = 32, 2e-3, 1e-4
_RISES = 0.4
_SHRINK = 0.45  # the middle part of a box whose cells are taught its class


@dataclass(frozen=True, eq=False)
class Scenes:
    """Training pictures: uint8 (n, 192, 256, 3), and their objects (n, 4, 5): class (-1: none), box in 0..1."""

    pictures: NDArray[np.uint8]
    objects: NDArray[np.float32]


def main() -> None:
    """Make scenes, train, export, convert."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, help="a folder of pictures for backgrounds")
    parser.add_argument("--signs", type=Path, help="a .zip of class folders of the German traffic sign benchmark")
    parser.add_argument("--scenes", type=int, default=2250)
    parser.add_argument("--rounds", type=int, default=7, help="how often each scene is seen")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    photographs = sorted(p for p in (chosen.photographs.rglob("*") if chosen.photographs else ()) if _is_picture(p))
    material = Material(tuple(map(str, photographs)), None if chosen.signs is None else str(chosen.signs))
    scenes = make_scenes(chosen.output, chosen.scenes, material)
    network = train(scenes, chosen.output, chosen.rounds)
    export(network, chosen.output / "detector.pt2")
    convert_detector(chosen.output / "detector.pt2", chosen.output / "detector.tflite")


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg", ".png")


def make_scenes(folder: Path, count: int, material: Material) -> Scenes:
    """Draw so many scenes, in parts of 250 that are kept."""
    pictures, objects = [], []
    for first in range(0, count, _PART):
        path = folder / f"scenes-{first:05d}.npz"
        if not path.exists():
            drawn = [_example(number, material) for number in range(first, min(first + _PART, count))]
            with replaced(path) as partial, open(partial, "wb") as file:
                np.savez(file, pictures=np.stack([p for p, _ in drawn]), objects=np.stack([o for _, o in drawn]))
            print(f"scenes {first + len(drawn)}/{count}", flush=True)
        with np.load(path) as kept:
            pictures.append(kept["pictures"])
            objects.append(kept["objects"])
    return Scenes(np.concatenate(pictures), np.concatenate(objects))


def _example(number: int, material: Material) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    frame, objects = drawn_scene((0, number), material)
    height, width = frame.shape[:2]
    table = np.full((_MOST_OBJECTS, 5), _NOTHING, np.float32)
    for row, seen in zip(table, objects, strict=False):
        row[:] = (seen.index, *(np.array(seen.box) / (width, height, width, height)))
    return crop_and_resize(frame, InputSpec(*_KEPT), PREPROCESS), table


def train(scenes: Scenes, folder: Path, rounds: int) -> CardDetector:
    """AdamW, its learning rate along two cosines; a checkpoint after each round."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = CardDetector(len(CARDS))
    in_layout(network, torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    per_round = -(-len(scenes.pictures) // _BATCH)
    checkpoint = folder / "checkpoint.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        done = int(state["round"])
    for number in range(done, rounds):
        began, total, step = time.monotonic(), 0.0, number * per_round
        network.train()
        rng = np.random.default_rng([27, 3, number])
        for rows in np.array_split(rng.permutation(len(scenes.pictures)), per_round):
            pictures, objects = augmented(scenes, rows, rng)
            boxes, logits = network.raw(pictures)
            loss = detection_loss(boxes, logits, objects)
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = learning_rate(step / (rounds * per_round)), (0.9, 0.999)
            step += 1
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            total += float(loss.detach())
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "round": number + 1}
        with replaced(checkpoint) as partial:
            torch.save(state, partial)
        said = {"round": number + 1, "loss": round(total / per_round, 4), "seconds": round(time.monotonic() - began)}
        print(json.dumps(said), flush=True)
    return network.eval()


def learning_rate(done: float) -> float:
    """Of a share of all steps: it rises for the first two fifths, and falls to nothing, both along a cosine."""
    along = done / _RISES if done < _RISES else 1 + (done - _RISES) / (1 - _RISES)
    return _LEARNING_RATE * (0.04 + 0.96 * (1 - math.cos(math.pi * along)) / 2)


def augmented(scenes: Scenes, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Some scenes moved, scaled and in other light: (n, 3, 144, 192) in [-1, 1], and their objects (n, 4, 5)."""
    pictures, objects = [], scenes.objects[rows].copy()
    for place, row in enumerate(rows):
        scale = float(rng.uniform(0.8, 1.25))
        shift = rng.uniform(-0.15, 0.15, 2) + (1 - scale) / 2
        smaller = scale * WIDTH / _KEPT[0]
        matrix = np.array([[smaller, 0, shift[0] * WIDTH], [0, smaller, shift[1] * HEIGHT]])
        moved = cv2.warpAffine(scenes.pictures[row], matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        light = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
        pictures.append(np.clip(moved * light.astype(np.float32), 0, 255))
        objects[place] = _moved(objects[place], scale, shift)
    stacked = torch.from_numpy(np.stack(pictures).astype(np.float32)).permute(0, 3, 1, 2)
    return (stacked - 127.5) / 127.5, torch.from_numpy(objects)


def _moved(objects: NDArray[np.float32], scale: float, shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """Boxes after scaling and shifting; an object that is more than half outside is left out."""
    boxes = np.asarray(objects[:, 1:] * scale + np.tile(shift, 2), np.float64)
    cut = np.clip(boxes, 0, 1)
    area, left = _areas(boxes), _areas(cut)
    kept = (objects[:, :1] >= 0) & (left > 0.5 * area)
    return np.where(kept, np.concatenate([objects[:, :1], cut], axis=1), _NOTHING).astype(np.float32)


def _areas(boxes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:, None]


def detection_loss(boxes: Tensor, logits: Tensor, objects: Tensor) -> Tensor:
    """Focal loss of the classes (Lin et al. 2017), generalised IoU of the boxes (Rezatofighi et al. 2019).

    Args:
        boxes: (n, cells, 4), corners in 0..1.
        logits: (n, cells, classes).
        objects: (n, 4, 5), class (-1: none) and corners.
    """
    classes, wanted, taught = targets(objects, logits.shape[2])
    found = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, classes, reduction="none")
    right = classes * found + (1 - classes) * (1 - found)
    weight = (0.35 * classes + 0.65 * (1 - classes)) * (1 - right) ** 2
    # a cell that is inside an object, but not in its middle, is taught nothing of that object's class
    ignored = (taught == 1)[..., None] & (classes == 0)
    count = (taught == 2).sum().clamp_min(1)
    score = (weight * entropy).masked_fill(ignored, 0).sum() / count
    chosen = taught == 2
    if not bool(chosen.any()):
        return score
    overlap = _generalized_iou(boxes[chosen], wanted[chosen])
    distance = (boxes[chosen] - wanted[chosen]).abs().sum(1)
    return score + (1 - overlap).mean() + 2 * distance.mean()


def targets(objects: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """What each cell is taught: classes (n, cells, k), box (n, cells, 4), and 2 in an object's middle, 1 around it."""
    ys, xs = torch.meshgrid((torch.arange(ROWS) + 0.5) / ROWS, (torch.arange(COLUMNS) + 0.5) / COLUMNS, indexing="ij")
    x, y = xs.flatten(), ys.flatten()
    n, cells = len(objects), len(x)
    hot, box, taught = torch.zeros(n, cells, classes), torch.zeros(n, cells, 4), torch.zeros(n, cells)
    for i in range(n):
        for index, left, top, right, bottom in objects[i].tolist():
            if index < 0:
                continue
            middle = (left + right) / 2, (top + bottom) / 2
            across = max((right - left) / 2 * _SHRINK, 0.51 / COLUMNS), max((bottom - top) / 2 * _SHRINK, 0.51 / ROWS)
            core = ((x - middle[0]).abs() <= across[0]) & ((y - middle[1]).abs() <= across[1])
            inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
            taught[i][inside & (taught[i] == 0)] = 1
            taught[i][core] = 2
            hot[i][core] = 0
            hot[i, core, int(index)] = 1
            box[i][core] = torch.tensor([left, top, right, bottom])
    return hot, box, taught


def _generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    both = (high - low).clamp_min(0).prod(1)
    either = (a[:, 2:] - a[:, :2]).clamp_min(0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return both / either.clamp_min(1e-9) - (hull - either) / hull.clamp_min(1e-9)


def export(network: CardDetector, path: Path) -> None:
    """The trained network as a torch.export program."""
    program = torch.export.export(in_layout(network.eval(), torch.contiguous_format), _one_picture())
    with replaced(path) as partial:
        torch.export.save(program, partial)


def convert_detector(program: Path, output: Path) -> None:
    """The int8 .tflite with its contract: guard `fd` at the frame, the whole frame stretched, calibrated on scenes."""
    from edgeguard.datasets.images import LabeledImage
    from edgeguard.dct.profile import GuardProfile
    from edgeguard_converters.pipeline import Options, convert

    frames = [drawn_scene((1, number))[0] for number in range(_CALIBRATION)]
    images = [LabeledImage(f"scene-{number}", frame) for number, frame in enumerate(frames)]
    options = Options(
        guard=GuardProfile.preset("fd"), preprocess="tf", crop="none", boxes="xyxy", labels=CARDS,
        size=(WIDTH, HEIGHT),
    )  # fmt: skip
    done = convert(program, output, images, options=options)
    print(f"{output}: {done.bytes / 1e3:.0f} kB, float and int8 agree on {done.report.agreement:.1%}", flush=True)


def _one_picture() -> tuple[Tensor]:
    return (torch.zeros(1, 3, HEIGHT, WIDTH),)


if __name__ == "__main__":
    main()
