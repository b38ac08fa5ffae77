"""Annotated pictures for an audit of the card detector: cards and signs before photographs, with their boxes.

    python benchmarks/annotated_scenes.py PHOTOGRAPHS --output scenes/ [--signs gtsrb-large.zip] [--count 50]
    edgeguard evaluate run detector.tflite --images scenes/ --protocol detector-audit --output audit/

Each picture stands before another photograph of the folder, spread over all of their names: frames of 640x480 pixels
as a camera sees them (light, blur, noise), PNG, with one to three cards. `--signs` is a .zip of class folders of the
German traffic sign benchmark; two of five cards are photographed signs then. Boxes are YOLO-style.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from edgeguard.datasets.images import list_images
from edgeguard.demo.detector_scenes import FRAME, photographed_scene
from edgeguard.scene.cards import CARDS


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--signs", type=Path)
    parser.add_argument("--count", type=int, default=50)
    chosen = parser.parse_args()
    pictures, labels = chosen.output / "images", chosen.output / "labels"
    for folder in (pictures, labels):
        folder.mkdir(parents=True, exist_ok=True)
    (chosen.output / "classes.txt").write_text("".join(f"{card}\n" for card in CARDS))
    photographs = list_images(chosen.photographs)
    spread = np.linspace(0, len(photographs) - 1, chosen.count).round().astype(int)
    objects = 0
    for number, place in enumerate(spread):
        frame, seen = photographed_scene(number, photographs[place], chosen.signs)
        cv2.imwrite(str(pictures / f"scene-{number:03d}.png"), frame[:, :, ::-1])
        rows = [_row(one.index, one.box) for one in seen]
        (labels / f"scene-{number:03d}.txt").write_text("".join(f"{row}\n" for row in rows))
        objects += len(seen)
    print(f"{chosen.output}: {chosen.count} pictures, {objects} objects")


def _row(index: int, box: tuple[float, float, float, float]) -> str:
    x1, y1, x2, y2 = np.array(box) / (*FRAME, *FRAME)
    return f"{index} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}"


if __name__ == "__main__":
    main()
