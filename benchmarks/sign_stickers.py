"""Two stickers on photographed stop signs, against a classifier of traffic signs, in the virtual field.

    edgeguard train signs.toml --data gtsrb32.zip --output signs/     # the file of docs/training.md
    edgeguard convert signs/model.pt2 --calibrate ... --output signs.tflite
    python benchmarks/sign_stickers.py gtsrb-large.zip signs.tflite --output stickers/

After Eykholt et al. 2018: two square stickers above and below the word, on a real sign. Each stop sign of the archive
(class folder `14` of the German traffic sign benchmark) is cut out along an octagon and gets stickers of its own, with
`edgeguard patch make`. The deployed file is then asked about the sign with nothing, gray, noise and the patch on it, on
the same stands for each: near enough to fill the frame, as in the pictures that such a classifier learns from.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.entries import entries
from edgeguard.fieldtest.patches.detector_field import FieldCheck
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.cutout import read_object
from edgeguard.fieldtest.sheets.sheet import ARMS, Arm
from edgeguard.fieldtest.sheets.subject import Subject, object_subject
from edgeguard.fieldtest.virtual.field import SheetPainter
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import Model, load_model
from edgeguard.model.input_path import InputPath
from edgeguard.statistics import wilson

STOP = "14"
SIDE_MM = 600.0
DISTANCES_MM = 700.0, 950.0
ANGLE_DEG = 30.0
PLACES = "0,-0.29", "0,0.29"
SIGN_SHARE = 0.82  # of a crop of the benchmark the sign is the middle
SIZE = 320, 240


def main() -> None:
    """Make the stickers of each sign, ask the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--target", default="13", help="class folder that shall be said [13: yield]")
    parser.add_argument("--size", default="8%", help="of both stickers, of the sign's square")
    parser.add_argument("--signs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--views", type=int, default=48)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    model = load_model(chosen.model)
    label, target = model.contract.labels.index(STOP), model.contract.labels.index(chosen.target)
    answers: dict[Arm, list[int]] = {arm: [] for arm in ARMS}
    for number, crop in enumerate(stop_signs(chosen.archive)[: chosen.signs]):
        sign, patch = chosen.output / f"sign-{number}.png", chosen.output / f"patch-{number}"
        cv2.imwrite(str(sign), octagon(crop))
        make(chosen, sign, patch)
        about, cutout = read_object(sign, label=STOP, size_mm=(SIDE_MM, SIDE_MM), mount="beside")
        subject = object_subject(about, cutout)
        said = {arm: asked(model, subject, arm, patch, chosen.views) for arm in ARMS}
        for arm, each in said.items():
            answers[arm] += each
        print(f"sign {number}:", *(f"{arm} {line(each, label, target)}" for arm, each in said.items()), sep="\n  ")
    print("all:", *(f"{arm} {line(each, label, target)}" for arm, each in answers.items()), sep="\n  ")


def stop_signs(archive: Path) -> list[NDArray[np.uint8]]:
    """The photographs of the archive, largest first."""
    found = [decode_rgb(entry.read()) for entry in entries(archive, {".png"}) if Path(entry.name).parent.name == STOP]
    return sorted(found, key=lambda rgb: -min(rgb.shape[:2]))


def octagon(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A sign cut out, BGRA, square."""
    side = 256
    square = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    turns = np.deg2rad(22.5 + 45 * np.arange(8))
    radius = side * SIGN_SHARE / 2 / np.cos(np.deg2rad(22.5))
    corners = side / 2 + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [np.rint(corners).astype(np.int32)], (255,))
    return np.dstack([square[:, :, ::-1], alpha])


def make(chosen: argparse.Namespace, sign: Path, patch: Path) -> None:
    """The stickers, by the command that a user takes."""
    began = time.monotonic()
    near, far = DISTANCES_MM
    words = [
        "patch", "make", chosen.model, "--object", sign, "--label", STOP, "--mm", f"{SIDE_MM:g}x{SIDE_MM:g}",
        "--mount", "beside", *(word for place in PLACES for word in ("--at", place)), "--size", chosen.size,
        "--target", chosen.target, "--distances", f"{near:g},{far:g}", "--angle", f"{ANGLE_DEG:g}",
        "--frame", f"{SIZE[0]}x{SIZE[1]}", "--steps", chosen.steps, "--output", patch,
    ]  # fmt: skip
    program = str(Path(sys.executable).with_name("edgeguard"))
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    print(f"$ edgeguard {' '.join(map(str, words))}\n{done.stdout}{done.stderr}({time.monotonic() - began:.0f} s)")
    if done.returncode:
        raise SystemExit(done.returncode)


def asked(model: Model, subject: Subject, arm: Arm, patch: Path, views: int) -> list[int]:
    """What the file says of each view: output indices."""
    label = model.contract.labels.index(STOP)
    check = FieldCheck(
        subject.name, label, views=views, angles_deg=(0.0, ANGLE_DEG), distances_mm=DISTANCES_MM, subject=subject
    )  # fmt: skip
    painter = SheetPainter(*made_sheet(subject, arm, patch=patch, number=0), cutout=subject.cutout)
    path = InputPath(model.contract, profile=None, patch_guard=None)
    said = []
    for stand in check.stands():
        frame = painter.frame(stand, *SIZE)
        said.append(model.read(model.run(path(path.arrive(frame)).tensor), *SIZE).index)
    return [-1 if index is None else index for index in said]


def line(said: list[int], label: int, target: int) -> str:
    """Right, and what the stickers want, with 95 % intervals."""
    right, won = said.count(label), said.count(target)
    low, high = wilson(won, len(said))
    return f"right {right} of {len(said)}, target said {won} of {len(said)} [{100 * low:.0f}, {100 * high:.0f}] %"


if __name__ == "__main__":
    main()
