"""`edgeguard demo --detector`: the bundled detector and a patch that makes a sign vanish, in the virtual field."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edgeguard.demo.assets import bundled_detector, bundled_detector_patch
from edgeguard.demo.sheet import Tile, contact_sheet
from edgeguard.evaluate.detectors.deployed import DeployedDetector
from edgeguard.fieldtest.patches.detector_field import ArmResult, FieldCheck, field_arms
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import ARMS
from edgeguard.fieldtest.virtual.field import SheetPainter
from edgeguard.model import load_model
from edgeguard.scene.cards import CARDS
from edgeguard.system.files import write_bytes

CARD = "stop"
_VIEWS = 24
_SHOWN = 2


def run_detector_demo(
    output: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, list[ArmResult]]:
    """Ask the bundled detector about a card without and with controls and the patch, without and with its guard.

    Args:
        output: folder for `detector-sheet.png`.
        progress: called with frames asked, and all of them.

    Returns:
        By guard (`none`, `contract`) the arms.

    Raises:
        DeviceError: the folder cannot be written.
    """
    model, patch = load_model(bundled_detector()), bundled_detector_patch()
    check = FieldCheck(CARD, CARDS.index(CARD), views=_VIEWS)
    profiles = {"none": None, "contract": model.contract.guard.profile}
    found = {}
    for number, (name, profile) in enumerate(profiles.items()):
        told = partial(_told, progress, number, len(profiles))
        found[name] = field_arms(model, check, patch=patch, profile=profile, progress=told)
    good, png = cv2.imencode(".png", contact_sheet(_tiles(check, patch))[:, :, ::-1])
    assert good
    write_bytes(output / "detector-sheet.png", png.tobytes())
    return found


def _told(progress: Callable[[int, int], None], before: int, parts: int, done: int, total: int) -> None:
    progress(before * total + done, parts * total)


def _tiles(check: FieldCheck, patch: Path) -> list[list[Tile]]:
    """Some views of each arm with what is found drawn in."""
    deployed = DeployedDetector(load_model(bundled_detector()))
    painters = {arm: SheetPainter(*made_sheet(check.card, arm, patch=patch, number=0)) for arm in ARMS}
    rows = []
    for stand in check.stands()[:_SHOWN]:
        row = []
        for arm, painter in painters.items():
            frame = painter.frame(stand, *check.size)
            boxes = deployed.boxes(frame)
            shown = np.ascontiguousarray(frame)
            for box in boxes:
                corners = [round(side) for side in (box.x1, box.y1, box.x2, box.y2)]
                cv2.rectangle(shown, (corners[0], corners[1]), (corners[2], corners[3]), (90, 220, 120), 3)
            small = np.asarray(cv2.resize(shown, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)
            answer = f"{boxes[0].label} {boxes[0].score:.2f}" if boxes else "nothing"
            row.append(Tile(small, arm, answer, any(box.index == check.label for box in boxes)))
        rows.append(row)
    return rows
