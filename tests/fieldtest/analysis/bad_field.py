"""A virtual field in which one step between the screen and the model is made worse on purpose."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from fieldtest.session.phone import object_corners

from edgeguard.camera.source import Captured
from edgeguard.fieldtest.session.guide import observe
from edgeguard.fieldtest.session.place import corners_from_tags
from edgeguard.fieldtest.session.plan import Plan, make_plan, write_plan
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.sheet import Arm, Overlay, Picture, Sheet, object_picture, picture_hash, with_overlay
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand, placed_at

#: Near, frontal, sharp, finely coded: a field in which nothing is lost.
NEAR_MM, QUALITY = 420.0, 97
SIZE = (640, 480)


def sheets_with(patch: Picture, side_share: float, target: str | None) -> list[tuple[Sheet, Picture]]:
    """The stop card, clean and with a patch below its middle."""
    card = object_picture("stop")
    place = Overlay((0.0, 0.07 * 120), side_share * 120)
    arms: tuple[Arm, ...] = ("clean", "patch")
    pictures = (card, with_overlay(card, 120.0, place, patch))
    return [
        (Sheet(20 + k, "stop", "stop", arm, overlay=place if k else None, target=target if k else None,
               picture_sha256=picture_hash(picture)), picture)
        for k, (arm, picture) in enumerate(zip(arms, pictures, strict=True))
    ]  # fmt: skip


def played(
    folder: Path,
    sheets: list[tuple[Sheet, Picture]],
    worse: str,
    *,
    passes: int = 6,
    size: tuple[int, int] = (640, 480),
) -> Session:
    """A recorded session of the two sheets; `worse` is a step of `why_files.STEPS`, or empty."""
    distance = 2600.0 if worse == "scale" else NEAR_MM
    angle = 70.0 if worse == "angle" else 0.0
    plan: Plan = make_plan([s for s, _ in sheets], (distance,), (angle,), ("bright",), passes, frames=1)
    folder.mkdir(parents=True, exist_ok=True)
    write_plan(folder, plan)
    session = Session(folder)
    (cell,) = plan.cells()
    for repeat in range(passes):
        for sheet, picture in sheets:
            stand = placed_at(np.random.default_rng(repeat), distance, angle, "bright")
            stand = replace(stand, blur=13.0 if worse == "blur" else 0.4, noise=1.0, tilt_deg=0.0)
            painter = SheetPainter(sheet, badly_printed(picture) if worse == "colors" else picture)
            rgb = painter.frame(stand, *SIZE)
            seen = observe(rgb, plan)
            if seen.found is None:  # the tags of a bad field are often not seen: the truth stands in
                corners = _truth(sheet, stand)
            else:
                corners = corners_from_tags(seen.found, sheet) or _truth(sheet, stand)
            quality = 2 if worse == "camera JPEG" else QUALITY
            data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            pose = {
                "distance_mm": stand.distance_mm, "angle_deg": stand.angle_deg, "angle_error_deg": 1.0, "tags": 4,
                "cell": cell, "live": None, "corners": corners, "pose_from": "tags", "size": SIZE,
            }  # fmt: skip
            session.store(sheet.number, cell, [Captured(0, "field", data, None, 1e9 + repeat, "received")], [pose])
    return session


def badly_printed(picture: Picture) -> Picture:
    """An empty cartridge: faint and without one of its inks."""
    gray = picture.astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32)
    faint = np.repeat(gray[:, :, None], 3, 2)
    return np.asarray(255 - (255 - faint) * 0.35, np.uint8)


def _truth(sheet: Sheet, stand: Stand) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in object_corners(sheet, stand, *SIZE))
