"""Train the bundled card model through the guard and write the bundled assets.

    python -m edgeguard.demo.train_cards --output edgeguard/demo/assets

Views are rendered at 640x480 and 320x240, sanitised on the whole frame with the `fd` profile (a quarter is left
undefended, so that the undefended path is a fair comparison), cropped and resized as the contract says. Two in five
show the card on a field-test sheet, among tags and colours, half of those with a grey or noisy square on it, so that
sheets and controls are nothing new to the model when patches are tested.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.fieldtest.layout import SHEET_NUMBERS
from edgeguard.fieldtest.sheet import Overlay, Sheet, control_picture, object_picture, with_overlay
from edgeguard.fieldtest.virtual_field import SheetPainter, placed_at
from edgeguard.guard.prepare import crop_and_resize
from edgeguard.guard.profile import GuardProfile
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.model.contract import InputSpec, Preprocess
from edgeguard.scene.cards import CARDS, LABELS
from edgeguard.scene.views import random_view, render
from edgeguard.train.card_net import SIDE, CardNet
from edgeguard.train.export import save_program
from edgeguard.workers import single_thread_opencv, worker_pool

PREPROCESS = Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
BIN_EDGES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
ANGLE_EDGES_DEG = (0.0, 15.0, 30.0, 45.0)
_TRAIN_SEED, _TEST_SEED = 1, 9


def render_example(seed: int) -> tuple[NDArray[np.uint8], int]:
    """One training example: the model's uint8 input and its output index."""
    single_thread_opencv()
    rng = np.random.default_rng([_TRAIN_SEED, seed])
    index = seed % len(LABELS)
    name = None if index == 0 else CARDS[index - 1]
    frame = _sheet_frame(rng, name) if (seed // len(LABELS)) % 5 < 2 else _card_frame(rng, name, seed % 4 == 3)
    if (seed // len(LABELS)) % 4:
        frame = Sanitizer(GuardProfile.preset("fd"))(frame)
    return crop_and_resize(frame, InputSpec(SIDE, SIDE), PREPROCESS), index


def _card_frame(rng: np.random.Generator, name: str | None, may_be_small: bool) -> NDArray[np.uint8]:
    distance = float(np.sqrt(rng.uniform(1.4**2, 10.0**2)))  # more far views, which are the hard ones
    view = random_view(rng, name, (distance, distance))
    return render(view, 320, 240) if may_be_small and distance < 6 else render(view)


def _sheet_frame(rng: np.random.Generator, name: str | None) -> NDArray[np.uint8]:
    """A sheet in the virtual field, with nothing, grey or noise on the card, of 2 to 14 % of its area."""
    picture = object_picture(name or "blank")
    arm = ("clean", "clean", "plain", "noise")[int(rng.integers(4))]
    if arm != "clean":
        side = 120.0 * float(np.sqrt(rng.uniform(0.02, 0.14)))
        x, y = (float(v) for v in rng.uniform(side / 2 - 60, 60 - side / 2, 2))
        content = control_picture("noise", int(rng.integers(1 << 31)))
        if arm == "plain":
            content = np.full_like(content, rng.integers(0, 256, 1 if rng.random() < 0.5 else 3, np.uint8))
        picture = with_overlay(picture, 120.0, Overlay((x, y), side), content)
    painter = SheetPainter(
        Sheet(int(rng.integers(SHEET_NUMBERS)), name or "blank", name or "background", "clean"), picture
    )
    light = ("bright", "dim", "warm")[int(rng.integers(3))]
    distance = float(np.sqrt(rng.uniform(300.0**2, 1300.0**2)))
    stand = placed_at(rng, distance, float(rng.uniform(0, 48)), light)  # type: ignore[arg-type]
    tilt, roll = float(rng.uniform(0, 360)), float(rng.uniform(-10, 10))
    return painter.frame(replace(stand, tilt_deg=tilt, roll_deg=roll, exposure=float(rng.uniform(0.8, 1.15))))


def render_test_view(cell: tuple[int, int], guarded: bool, number: int) -> tuple[NDArray[np.uint8], int]:
    """One view of a (distance, angle) bin, through two passes when guarded."""
    single_thread_opencv()
    rng = np.random.default_rng([_TEST_SEED, *cell, number])
    index = 1 + number % len(CARDS)
    low, high = max(BIN_EDGES[cell[0]], 1.4), BIN_EDGES[cell[0] + 1]
    view = random_view(rng, CARDS[index - 1], (low, high), (ANGLE_EDGES_DEG[cell[1]], ANGLE_EDGES_DEG[cell[1] + 1]))
    frame = render(view)
    if guarded:
        sanitizer = Sanitizer(GuardProfile.preset("fd"))
        frame = sanitizer(sanitizer(frame))
    return crop_and_resize(frame, InputSpec(SIDE, SIDE), PREPROCESS), index


def test_cells() -> Iterator[tuple[int, int]]:
    """All (distance bin, angle bin) pairs."""
    for distance in range(len(BIN_EDGES) - 1):
        for angle in range(len(ANGLE_EDGES_DEG) - 1):
            yield distance, angle


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 NHWC to float NCHW in [-1, 1]."""
    return (pixels.permute(0, 3, 1, 2).float() - 127.5) / 127.5


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by up to 6 pixels, change contrast and brightness; float NCHW in, float NCHW out."""
    dx, dy = (int(v) for v in torch.randint(-6, 7, (2,), generator=generator))
    shifted = torch.roll(pixels, (dy, dx), (2, 3))
    gain = 0.85 + 0.3 * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    offset = 0.2 * (torch.rand(len(pixels), 1, 1, 1, generator=generator) - 0.5)
    return (shifted * gain + offset).clamp(-1, 1)


def train(pixels: NDArray[np.uint8], targets: NDArray[np.int64], epochs: int) -> CardNet:
    """Train from scratch; deterministic for given data and thread count."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = CardNet(len(LABELS)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(targets)
    batch = 64
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        started, hits, seen = time.monotonic(), 0, 0
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            x = augment(normalise(images[chosen]), generator).contiguous(memory_format=torch.channels_last)
            outputs = model(x)
            loss = torch.nn.functional.cross_entropy(outputs, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            hits += int((outputs.argmax(1) == labels[chosen]).sum())
            seen += len(chosen)
        print(
            f"epoch {epoch + 1}/{epochs}: train accuracy {hits / seen:.4f}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return model.eval()


def main() -> None:
    """Render, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--views", type=int, default=32_000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--test-views", type=int, default=300, help="for each bin")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with worker_pool() as pool:
        examples = list(pool.map(render_example, range(options.views), chunksize=50))
    print(f"{len(examples)} views rendered", flush=True)
    model = train(np.stack([e[0] for e in examples]), np.array([e[1] for e in examples]), options.epochs)
    save_program(
        model,
        options.output / "cards.pt2",
        size=SIDE,
        labels=tuple(LABELS),
        profile=GuardProfile.preset("fd"),
        crop_fraction=Preprocess.crop_fraction,
    )
    report_bins(model, options.test_views)


def report_bins(model: CardNet, count: int) -> None:
    """Print the clean accuracy of the float model in every bin of distance and angle, two passes."""
    with worker_pool() as pool:
        for cell in test_cells():
            views = list(pool.map(partial(render_test_view, cell, True), range(count), chunksize=25))
            with torch.inference_mode():
                outputs = model(normalise(torch.from_numpy(np.stack([v[0] for v in views]))))
            accuracy = float((outputs.argmax(1).numpy() == np.array([v[1] for v in views])).mean())
            print(f"distance bin {cell[0]}, angle bin {cell[1]}: {accuracy:.4f} (n = {count})", flush=True)


if __name__ == "__main__":
    main()
