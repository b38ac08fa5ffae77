"""A user's own sign against a detector, from the picture to the report, with rendered stand-ins for the phone.

    python benchmarks/own_sign.py OUTPUT [--model detector.tflite] [--steps 300]

Every step that a user takes at a command line is that command line. Only the photographs and films are made here: the
sign with each paper on it, in rendered scenes, as a phone writes them (EXIF times, turned pictures, MP4). 8 passes of 5
photographs and 2 films for each of 4 arms; 40 passes in all. Prints each command, what it said and how long it took.
`python benchmarks/own_sign.py OUTPUT --pictures docs/images` makes the pictures of docs/fieldtest.md of it.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from fieldtest.session.phone import Exif, film, written
from numpy.typing import NDArray
from pictures import read_bgr
from PIL import Image

from edgeguard.fieldtest.sheets.build import sheet_and_picture
from edgeguard.fieldtest.sheets.cutout import read_object
from edgeguard.fieldtest.sheets.sheet import object_picture
from edgeguard.fieldtest.virtual.field import SheetPainter, drive_by, placed_at

ARMS = ("clean", "plain", "noise", "patch")
CELLS = ((900, 0), (900, 30), (1400, 0), (1400, 30))
SIZE = 1280, 960
BUNDLED = Path(__file__).parent.parent / "edgeguard/demo/assets/detector.tflite"


def main() -> None:
    """The whole story, or the pictures of one that was told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    root: Path = arguments.output
    if arguments.pictures is not None:
        make_pictures(root, arguments.pictures)
        return
    root.mkdir(parents=True, exist_ok=True)
    make_sign(root)
    sign = ["--object", root / "sign.png", "--label", "stop", "--mm", "300x300", "--mask", root / "mask.png"]
    made = ["--mode", "vanish", "--mount", "on", "--steps", arguments.steps, "--output", root / "patch"]
    command("patch", "make", arguments.model, *sign, *made)
    for arm in ARMS:
        command("patch", "sheet", "--patch", root / "patch", "--arm", arm, "--output", root / f"{arm}.pdf")
    sheets = [root / f"{arm}.pdf" for arm in ARMS]
    cells = ["--distances", "900,1400", "--angles", "0,30", "--passes", 2, "--frames", 5]
    command("fieldtest", "plan", root / "session", *sheets, "--model", arguments.model, *cells)
    photograph(root)
    began = time.monotonic()
    command("fieldtest", "import", root / "photos", "--plan", root / "session")
    guards = ["--guard", "off", "--guard", "fd", "--memory", 5]
    command("fieldtest", "score", root / "session", "--model", arguments.model, *guards)
    command("fieldtest", "report", root / "session")
    print(f"import, score and report: {time.monotonic() - began:.0f} s")


def make_sign(root: Path) -> None:
    """A clean scan of an octagonal sign, and where it is."""
    card = object_picture("stop")
    ink: NDArray[np.bool_] = np.any(card < 250, axis=2)
    rows, columns = np.nonzero(ink)
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    mask = np.zeros(ink[box].shape, np.uint8)
    hull = cv2.convexHull(np.argwhere(ink[box])[:, ::-1].astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (255,))
    cv2.imwrite(str(root / "sign.png"), card[box][:, :, ::-1])
    cv2.imwrite(str(root / "mask.png"), mask)


def command(*words: object) -> None:
    """Run `edgeguard` as a user does."""
    began = time.monotonic()
    line = [str(word) for word in words]
    program = str(Path(sys.executable).with_name("edgeguard"))
    done = subprocess.run([program, *line], capture_output=True, text=True, check=False)
    print(f"$ edgeguard {' '.join(line)}\n{done.stdout}{done.stderr}({time.monotonic() - began:.0f} s)\n", flush=True)
    if done.returncode:
        raise SystemExit(done.returncode)


def photograph(root: Path) -> None:
    """What the phone took: photos/ARM/*.jpg and *.mp4."""
    _, cutout = read_object(root / "sign.png", label="stop", size_mm=(300.0, 300.0), mask=root / "mask.png", mount="on")
    for number, arm in enumerate(ARMS):
        painter = SheetPainter(*sheet_and_picture(root / f"{arm}.pdf"), cutout=cutout)
        folder = root / "photos" / arm
        folder.mkdir(parents=True, exist_ok=True)
        for placement in range(2 * len(CELLS)):
            cell = CELLS[placement % len(CELLS)]
            stand = replace(placed_at(np.random.default_rng(placement), *cell, "bright"), blur=0.8)
            turned = placement % len(CELLS) == 3
            for shot in range(5):
                rgb = painter.frame(stand, *(SIZE[::-1] if turned else SIZE), shot=shot)
                taken = Exif(f"2026:05:01 1{number}:{placement:02d}:{shot:02d}", orientation=6 if turned else 1)
                (folder / f"IMG_{placement}_{shot}.jpg").write_bytes(written(rgb, ".jpg", taken, 88))
        for drive in range(2):
            stands = drive_by(40 + drive, 40, 800.0, 2600.0)
            film(folder / f"VID_{drive}.mp4", [painter.frame(stand, 960, 720) for stand in stands], 8.0)


def make_pictures(root: Path, folder: Path) -> None:
    """Sign, patch and paper in one row; the four arms as photographed; a moment of a film."""
    subprocess.run(["pdftoppm", "-r", "60", "-singlefile", "-png", root / "patch.pdf", root / "page"], check=True)
    steps = [read_bgr(root / name) for name in ("sign.png", "patch/patch.png", "page.png")]
    _write_row(folder / "fieldtest-own-steps.jpg", steps, 320)
    arms = [read_bgr(root / "photos" / arm / "IMG_0_0.jpg")[180:780, 240:1040] for arm in ARMS]
    _write_row(folder / "fieldtest-own-sign.jpg", arms, 300)
    with Image.open(root / "session/report-films/film-1.gif") as film_:
        film_.seek(film_.n_frames // 2)  # type: ignore[attr-defined]  # of a GIF
        _write_row(folder / "fieldtest-own-film.jpg", [np.asarray(film_.convert("RGB"))[:, :, ::-1]], film_.height)


def _write_row(path: Path, pictures: list[NDArray[np.uint8]], height: int) -> None:
    sized = [
        cv2.resize(one, (round(one.shape[1] * height / one.shape[0]), height), interpolation=cv2.INTER_AREA)
        for one in pictures
    ]
    gap = np.full((height, 12, 3), 255, np.uint8)
    row = np.hstack([part for one in sized for part in (one, gap)][:-1])
    cv2.imwrite(str(path), row, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
