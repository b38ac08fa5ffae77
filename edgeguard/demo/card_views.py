"""Views of the cards for training and testing the card model.

    python -m edgeguard.demo.card_views --output cards/            # class folders of 128-pixel pictures
    edgeguard train examples/train-cards.toml --data cards/ --output cards-trained/
    python -m edgeguard.demo.card_views --check cards-trained/model.pt2

Views are rendered at 640x480 and 320x240, sanitised on the whole frame with the `fd` profile (a quarter is left
undefended, so that the undefended path is a fair comparison), cropped and resized as the contract says. Two in five
show the card on a field-test sheet, among tags and colours, half of those with a grey or noisy square on it, so that
sheets and controls are nothing new to the model when patches are tested.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.fieldtest.sheets.layout import SHEET_NUMBERS
from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet, control_picture, object_picture, with_overlay
from edgeguard.fieldtest.virtual.field import Light, SheetPainter, placed_at
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.model.contract import Contract, ContractGuard, InputSpec, Preprocess
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.scene.cards import CARDS, LABELS
from edgeguard.scene.views import random_view, render
from edgeguard.system.files import write_bytes
from edgeguard.system.workers import single_thread_opencv, worker_pool
from edgeguard.train.card_net import SIDE
from edgeguard.train.export import load_program

PREPROCESS = Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
BIN_EDGES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
ANGLE_EDGES_DEG = (0.0, 15.0, 30.0, 45.0)
LIGHTS: tuple[Light, ...] = ("bright", "dim", "warm")
_TRAIN_SEED, _TEST_SEED = 1, 9
_WANTED = 0.98  # of the views in each bin


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
    light = LIGHTS[int(rng.integers(3))]
    distance = float(np.sqrt(rng.uniform(300.0**2, 1300.0**2)))
    stand = placed_at(rng, distance, float(rng.uniform(0, 48)), light)
    tilt, roll = float(rng.uniform(0, 360)), float(rng.uniform(-10, 10))
    return painter.frame(replace(stand, tilt_deg=tilt, roll_deg=roll, exposure=float(rng.uniform(0.8, 1.15))))


def render_test_view(cell: tuple[int, int], guarded: bool, number: int) -> tuple[NDArray[np.uint8], int]:
    """One view of a (distance, angle) bin, through two passes when guarded."""
    single_thread_opencv()
    rng = np.random.default_rng([_TEST_SEED, *cell, number])
    index = 1 + number % len(CARDS)
    low, high = max(BIN_EDGES[cell[0]], 1.4), BIN_EDGES[cell[0] + 1]
    view = random_view(rng, CARDS[index - 1], (low, high), (ANGLE_EDGES_DEG[cell[1]], ANGLE_EDGES_DEG[cell[1] + 1]))
    guard = ContractGuard(GuardProfile.preset("fd"), "frame") if guarded else ContractGuard()
    path = InputPath(Contract(InputSpec(SIDE, SIDE), PREPROCESS, guard))
    return path.levels(path.capture(render(view)))[0], index


def test_cells() -> Iterator[tuple[int, int]]:
    """All (distance bin, angle bin) pairs."""
    for distance in range(len(BIN_EDGES) - 1):
        for angle in range(len(ANGLE_EDGES_DEG) - 1):
            yield distance, angle


def write_views(folder: Path, train_views: int, test_views: int) -> None:
    """Class folders below train/ and test/; the test part holds guarded views of every bin, two passes each."""
    with worker_pool() as pool:
        for number, (pixels, index) in enumerate(pool.map(render_example, range(train_views), chunksize=50)):
            _write(folder / "train", number, pixels, index)
        number = 0
        for cell in test_cells():
            for pixels, index in pool.map(partial(render_test_view, cell, True), range(test_views), chunksize=10):
                _write(folder / "test", number, pixels, index)
                number += 1
        for pixels, index in pool.map(render_example, range(train_views, train_views + 20 * test_views), chunksize=10):
            if index == 0:  # the bins hold cards only
                _write(folder / "test", number, pixels, index)
                number += 1


def _write(part: Path, number: int, pixels: NDArray[np.uint8], index: int) -> None:
    target = part / LABELS[index] / f"{number:06}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, ::-1]))[1].tobytes(), durable=False)


def report_bins(program: Path, count: int) -> bool:
    """Print the accuracy of a float program in every bin of distance and angle, two passes; True if each has 98 %."""
    module, facts = load_program(program)
    labels = list(facts["labels"])
    good = True
    with worker_pool() as pool:
        for cell in test_cells():
            views = list(pool.map(partial(render_test_view, cell, True), range(count), chunksize=25))
            levels = torch.from_numpy(np.stack([v[0] for v in views])).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                answers = module((levels - 127.5) / 127.5).argmax(1).tolist()
            right = sum(labels[answer] == LABELS[index] for answer, (_, index) in zip(answers, views, strict=True))
            good &= right >= _WANTED * count
            print(f"distance bin {cell[0]}, angle bin {cell[1]}: {right}/{count}", flush=True)
    return good


def main() -> None:
    """Render, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="render a dataset into this folder")
    parser.add_argument("--check", type=Path, help="print a program's accuracy in every bin")
    parser.add_argument("--views", type=int, default=32_000)
    parser.add_argument("--test-views", type=int, default=50, help="for each bin (--check: 300)")
    options = parser.parse_args()
    if options.output is not None:
        write_views(options.output, options.views, options.test_views)
    if options.check is not None and not report_bins(options.check, 300):
        sys.exit("a bin is below 98 %")


if __name__ == "__main__":
    main()
