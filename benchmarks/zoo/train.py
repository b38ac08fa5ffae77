"""Train the models of the converter's zoo briefly, on the CPU, and export them with sets of images to convert with.

    python benchmarks/zoo/train.py CIFAR10_JPEG_ZIP OUTPUT_FOLDER [NAME ...]

Classifiers (timm, random weights) learn CIFAR-10 at 96x96 for a few hundred steps; detectors learn drawn scenes. Needs
timm and torchvision; minutes each.
"""

import io
import json
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from detectors import SHAPES, SsdOutputs, YoloStyle, draw_scene

from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

CLASSIFIERS = {
    "mobilenetv3_small": "mobilenetv3_small_100",
    "efficientnet_lite0": "efficientnet_lite0",
    "resnet18": "resnet18",
    "convnext_femto": "convnext_femto",
    "vit_tiny": "vit_tiny_patch16_224",
}
DETECTORS = ("yolo_style", "ssdlite")
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
SIDE, BATCH, STEPS = 96, 64, {"mobilenetv3_small": 1600, "efficientnet_lite0": 1000}


def cifar(path: Path, part: str, each: int) -> tuple[list[bytes], list[int], list[str]]:
    """The first `each` JPEG files of every class."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith(f"{part}/") and n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        chosen = [n for c in classes for n in [n for n in names if n.split("/")[1] == c][:each]]
        return [archive.read(n) for n in chosen], [classes.index(n.split("/")[1]) for n in chosen], classes


def normalized(pictures: np.ndarray) -> torch.Tensor:
    """(n, h, w, 3) pixels to normalised NCHW."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    return (torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() - mean) / std


def train_classifier(name: str, archive: Path) -> torch.nn.Module:
    """A few hundred steps of AdamW with flips."""
    import timm

    extra = {"img_size": SIDE} if "vit" in name else {}
    model = timm.create_model(CLASSIFIERS[name], num_classes=10, **extra)
    files, labels, _ = cifar(archive, "train", 2500)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files])
    targets, rng = torch.tensor(labels), np.random.default_rng(0)
    steps = STEPS.get(name, 400)
    peak = 1e-3 if "vit" in name or "convnext" in name else 2e-3
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    for step in range(steps):
        chosen = rng.integers(0, len(pixels), BATCH)
        batch = pixels[chosen][:, :, :: rng.choice([-1, 1])]
        x = functional.interpolate(normalized(batch), size=SIDE, mode="nearest")
        loss = functional.cross_entropy(model.train()(x), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{name} step {step + 1} loss {loss.item():.3f}", flush=True)
    return model.eval()


def train_detector(name: str) -> tuple[torch.nn.Module, int]:
    """A few hundred steps on drawn scenes."""
    rng = np.random.default_rng(1)
    if name == "yolo_style":
        side, steps, batch = 160, 600, 16
        model = trained = YoloStyle(side)
    else:
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        side, steps, batch = 320, 300, 8
        trained = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=1 + len(SHAPES), image_mean=[0] * 3, image_std=[1] * 3
        )
        model = trained
    optimizer = torch.optim.AdamW(trained.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        scenes = [draw_scene(rng, side) for _ in range(batch)]
        x = normalized(np.stack([picture for picture, _ in scenes]))
        trained.train()
        if name == "yolo_style":
            loss = model.loss(model(x), [boxes for _, boxes in scenes])
        else:
            targets = [
                {"boxes": torch.tensor([b[1:] for b in boxes]).float().view(-1, 4),
                 "labels": torch.tensor([b[0] + 1 for b in boxes])}
                for _, boxes in scenes
            ]  # fmt: skip
            loss = sum(trained(list(x), targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{name} step {step + 1} loss {loss.item():.3f}", flush=True)
    trained.eval()
    return (SsdOutputs(trained, side).eval() if name == "ssdlite" else model.eval()), side


def export(model: torch.nn.Module, side: int, labels: list[str], path: Path, detection: dict[str, str]) -> None:
    """A .pt2 that states its preprocessing."""
    facts = {
        "detection": detection,
        "preprocess": {"mean": IMAGENET[0], "std": IMAGENET[1], "crop": "none"},
        "labels": labels,
    }
    program = torch.export.export(model, (torch.zeros(1, 3, side, side),))
    torch.export.save(program, path, extra_files={"edgeguard.json": json.dumps(facts)})


def write_images(folder: Path, files: list[bytes], labels: list[int] | None) -> None:
    """Image files, and labels.csv where classes are known."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file,class_index"]
    for index, data in enumerate(files):
        name = f"{index:04d}.{'jpg' if data[:2] == bytes([255, 216]) else 'png'}"
        (folder / name).write_bytes(data)
        rows.append(f"{name},{labels[index] if labels else 0}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def scenes_as_files(seed: int, count: int, side: int) -> list[bytes]:
    """PNG files of drawn scenes."""
    rng = np.random.default_rng(seed)
    return [cv2.imencode(".png", draw_scene(rng, side)[0][..., ::-1])[1].tobytes() for _ in range(count)]


def main() -> None:
    """Train, export, write images."""
    archive, out = Path(sys.argv[1]), Path(sys.argv[2])
    names = sys.argv[3:] or [*CLASSIFIERS, *DETECTORS]
    out.mkdir(parents=True, exist_ok=True)
    make_torchvision_importable()
    torch.manual_seed(0)
    if any(name in CLASSIFIERS for name in names):
        files, labels, classes = cifar(archive, "test", 50)
        write_images(out / "cifar-cal", files[::5], labels[::5])
        keep = [i for i in range(len(files)) if i % 5]
        write_images(out / "cifar-eval", [files[i] for i in keep], [labels[i] for i in keep])
    for name in names:
        start = time.perf_counter()
        if name in CLASSIFIERS:
            export(train_classifier(name, archive), SIDE, classes, out / f"{name}.pt2", {})
        else:
            model, side = train_detector(name)
            labels_of = [*SHAPES] if name == "yolo_style" else ["background", *SHAPES]
            form = (
                {"boxes": "cxcywh", "units": "pixels"}
                if name == "yolo_style"
                else {"boxes": "yxyx", "units": "relative"}
            )
            export(model, side, labels_of, out / f"{name}.pt2", form)
            write_images(out / f"{name}-cal", scenes_as_files(10, 100, side), None)
            write_images(out / f"{name}-eval", scenes_as_files(11, 200, side), None)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
