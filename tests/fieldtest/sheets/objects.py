"""A stand-in for a photograph of a real sign, with its mask, for the tests of any object."""

from pathlib import Path

import cv2
import numpy as np

from edgeguard.fieldtest.sheets.cutout import read_object
from edgeguard.fieldtest.sheets.field_object import Mount
from edgeguard.fieldtest.sheets.subject import Subject, object_subject
from edgeguard.scene.cards import draw_card
from edgeguard.scene.outlines import sign_outline


def write_sign(folder: Path) -> tuple[Path, Path]:
    """A shaded stop sign before clutter, and its mask."""
    card = draw_card("stop")
    mask = np.zeros(card.shape[:2], np.uint8)
    cv2.fillPoly(mask, [((sign_outline("stop") + 0.5) * len(card)).astype(np.int32)], 255)
    clutter = np.random.default_rng(0).integers(40, 160, card.shape).astype(np.uint8)
    shaded = np.where(mask[:, :, None] > 0, card, clutter) * np.linspace(0.85, 1.0, len(card))[None, :, None]
    photo, where = folder / "my sign.png", folder / "mask.png"
    cv2.imwrite(str(photo), shaded[:, :, ::-1].astype(np.uint8))
    cv2.imwrite(str(where), mask)
    return photo, where


def sign_subject(folder: Path, mount: Mount = "sheet", side_mm: float = 150.0) -> Subject:
    """The sign as the subject of a field test."""
    photo, mask = write_sign(folder)
    return object_subject(*read_object(photo, label="stop", size_mm=(side_mm, side_mm), mask=mask, mount=mount))
