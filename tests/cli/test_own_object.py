"""An object of your own, from a photograph of it to the report, by the commands of docs/fieldtest.md (rendered)."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here as run
from fieldtest.session.phone import Exif, written

from edgeguard.demo.assets import ASSETS
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.build import sheet_and_picture
from edgeguard.fieldtest.sheets.subject import sheet_subject
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, placed_at
from edgeguard.fieldtest.virtual.printer import HalftonePrinter
from edgeguard.scene.cards import draw_card
from edgeguard.scene.outlines import sign_outline

pytest.importorskip("torch", reason="needs the attack extra")
pytest.importorskip("pycocotools", reason="needs the attack extra")

ARMS = ("clean", "plain", "noise", "patch")
SIZE = (960, 720)


def _good(*words: object) -> str:
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _scanned(folder: Path) -> tuple[Path, Path]:
    """A scan of a sign, and its mask."""
    card = draw_card("stop")
    mask = np.zeros(card.shape[:2], np.uint8)
    cv2.fillPoly(mask, [((sign_outline("stop") + 0.5) * len(card)).astype(np.int32)], (255,))
    cv2.imwrite(str(folder / "my sign.png"), card[:, :, ::-1])
    cv2.imwrite(str(folder / "mask.png"), mask)
    return folder / "my sign.png", folder / "mask.png"


def _calibrated(folder: Path) -> Path:
    """`printer.json` of a photograph of the chart from a rendered printer."""
    _good("patch", "sheet", "--card", "chart", "--output", folder / "chart.pdf")
    painter = SheetPainter(*sheet_and_picture(folder / "chart.pdf"), printer=HalftonePrinter())
    frame = painter.frame(Stand(330.0, 4.0, 40.0, 2.0, seed=5, light="warm", noise=1.5, blur=0.7), 1200, 900)
    cv2.imwrite(str(folder / "chart.jpg"), frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    said = _good("patch", "calibrate", folder / "chart.jpg", "--output", folder / "printer.json")
    assert "168 colors, a map of degree 3" in said
    return folder / "printer.json"


def _photographs(folder: Path) -> None:
    """Two placements of each arm, three photographs of each, as a phone writes them."""
    for number, arm in enumerate(ARMS):
        sheet, picture = sheet_and_picture(folder / f"{arm}.pdf")
        painter = SheetPainter(sheet, picture, cutout=sheet_subject(sheet, folder / f"{arm}.pdf").cutout)
        for placement in range(2):
            stand = replace(placed_at(np.random.default_rng(placement), 1000, 0, "bright"), blur=0.6)
            for shot in range(3):
                data = written(
                    painter.frame(stand, *SIZE, shot=shot), ".jpg",
                    Exif(f"2026:05:01 1{number}:{placement:02d}:{shot:02d}"),
                )  # fmt: skip
                path = folder / "photos" / f"{arm}-{placement}-{shot}.jpg"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)


@pytest.mark.full
def test_from_a_photograph_of_the_object_to_the_report(tmp_path: Path) -> None:
    photo, mask = _scanned(tmp_path)
    detector, patch, session = ASSETS / "detector.tflite", tmp_path / "p", tmp_path / "session"
    sign = ("--object", photo, "--label", "stop", "--mm", "300x300", "--mask", mask, "--mount", "on")
    few = ("--steps", 2, "--batch", 1, "--frame", "160x120", "--printer", _calibrated(tmp_path))
    said = _good("patch", "make", detector, *sign, *few, "--mode", "vanish", "--output", patch)
    assert "the deployed file in the virtual field" in said and "clean  found" in said
    _good("patch", "sheet", *sign, "--arm", "clean", "--output", tmp_path / "other.pdf")
    for arm in ARMS:
        _good("patch", "sheet", "--patch", patch, "--arm", arm, "--output", tmp_path / f"{arm}.pdf")
    sheets = [tmp_path / f"{arm}.pdf" for arm in ARMS]
    grid = ("--distances", "1000", "--angles", "0", "--passes", 2, "--frames", 3)
    said = _good("fieldtest", "plan", session, *sheets, "--model", detector, *grid)
    assert "with 2 passes of each arm you will see an effect of 30 points with" in said and "note:" not in said
    _photographs(tmp_path)
    said = _good("fieldtest", "import", tmp_path / "photos", "--plan", session, "--workers", 1)
    assert said.startswith("24 frames in 8 passes stored, 0 passes missing")
    assert {frame.pose_from for one in Session(session).passes for frame in one.frames} == {"tags"}
    guards = ("--guard", "off", "--guard", "fd", "--memory", 2, "--workers", 1)
    said = _good("fieldtest", "score", session, "--model", detector, *guards)
    assert "patch -> not found: does it beat the plain control, guard off?" in said
    assert "with a memory of 2 frames, does it beat the plain control" in said and "my sign, patch" in said
    assert "wrote 2 films" in _good("fieldtest", "report", session)
    page = (session / "report.html").read_text()
    assert "Why the patch fails" in page and "With a memory of 2 frames" in page
    assert json.loads((session / "why.json").read_text())["patches"][0]["guard"] == "fd"
