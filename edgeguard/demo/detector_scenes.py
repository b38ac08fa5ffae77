"""Scenes with cards and the boxes of their signs, to train and test the card detector.

Half of the scenes show free cards (none to three), the others a card on a field-test sheet, among tags and colours,
with nothing, grey or noise on it: sheets and controls shall be nothing new to the detector when patches are tested.
With photographs, half of the free cards stand before one; with signs (a .zip of class folders of the German traffic
sign benchmark), some of the free cards are photographed signs instead.
"""

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.entries import entries
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.profile import GuardProfile
from edgeguard.fieldtest.sheets.layout import SHEET_NUMBERS
from edgeguard.fieldtest.sheets.sheet import Overlay, Sheet, control_picture, object_picture, with_overlay
from edgeguard.fieldtest.virtual.field import LIGHTS, SheetPainter, light_named, placed_at, project
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.scene.cards import CARDS
from edgeguard.scene.outlines import Box, box_around, card_box, sign_outline
from edgeguard.scene.views import background, card_at, longest_edge, paste, project_card, random_view, seen_by_camera
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

Picture = NDArray[np.uint8]
Size = tuple[int, int]
FRAME: Size = (640, 480)
_SMALL: Size = (320, 240)
_CARD_MM = 120.0
_MOST_OVERLAP = 0.05
_SMALLEST = 0.03  # of a frame's height: what is smaller is not learned
_VARIANTS = 8  # of each card's sheet
#: Class folders of the traffic sign benchmark that mean what a card means.
SIGNS = {
    "stop": "14", "yield": "13", "no entry": "17", "priority": "12", "danger": "18", "left": "34", "right": "33",
    "ahead": "35", "end of limits": "32",
}  # fmt: skip
_SIGN_SHARE = 0.82  # of the benchmark's crops the sign is the middle: about a tenth on each side is margin


@dataclass(frozen=True)
class SeenObject:
    """A sign in a frame: the index of its class in `CARDS`, and its box in pixels."""

    index: int
    box: Box


@dataclass(frozen=True)
class Material:
    """What scenes are made of beside rendered things.

    Attributes:
        photographs: paths of backgrounds.
        signs: a .zip of class folders; None for none.
    """

    photographs: tuple[str, ...] = ()
    signs: str | None = None


NOTHING_ELSE = Material()


def drawn_scene(key: tuple[int, int], material: Material = NOTHING_ELSE) -> tuple[Picture, list[SeenObject]]:
    """A frame of a part (0: training, 1: test) and number, and the signs in it; always the same.

    Training frames have 320x240 pixels, one in four 640x480, which take four times as long; test frames have 640x480.
    """
    rng = np.random.default_rng([27, *key])
    size = _SMALL if key[0] == 0 and key[1] % 4 else FRAME
    frame, objects = _sheet_scene(rng, size) if rng.random() < 0.45 else _free_scene(rng, size, material)
    if rng.random() < 0.5:
        quality = int(rng.integers(70, 96))
        coded = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        frame = decode_whole(coded)
    if rng.random() < 0.5:
        frame = Sanitizer(GuardProfile.preset("fd"))(frame)
    return frame, objects


def photographed_scene(number: int, photograph: Path, signs: Path | None = None) -> tuple[Picture, list[SeenObject]]:
    """A frame of 640x480 pixels of one to three cards before a photograph, and the signs in it; always the same.

    Nothing like it is among the scenes of `drawn_scene`: as raw frames they are for audits.

    Args:
        number: of the frame.
        photograph: what stands behind.
        signs: a .zip of class folders of the traffic sign benchmark; two of five cards are such signs then.
    """
    material = Material((str(photograph),), None if signs is None else str(signs))
    rng = np.random.default_rng([27, 4, number])
    while True:
        frame, objects = _free_scene(rng, FRAME, material, photographed=1.0)
        if objects:
            return frame, objects


def hull_mm(card: str, object_mm: float = _CARD_MM) -> NDArray[np.float64]:
    """The hull of a card's sign on its sheet, (n, 3) millimetres from the object's middle."""
    outline = sign_outline(card).astype(np.float64) * object_mm
    return np.concatenate([outline, np.zeros((len(outline), 1))], axis=1)


def _sheet_scene(rng: np.random.Generator, size: Size) -> tuple[Picture, list[SeenObject]]:
    width, height = size
    index = int(rng.integers(len(CARDS)))
    painter = _painter(CARDS[index], int(rng.integers(_VARIANTS)))
    light = light_named(LIGHTS[int(rng.integers(len(LIGHTS)))]) or "bright"
    distance = float(np.sqrt(rng.uniform(300.0**2, 1300.0**2)))
    stand = placed_at(rng, distance, float(rng.uniform(0, 45)), light)
    stand = replace(
        stand,
        tilt_deg=float(rng.uniform(0, 360)),
        roll_deg=float(rng.uniform(-10, 10)),
        x=float(rng.uniform(-0.3, 0.3)),
        y=float(rng.uniform(-0.15, 0.15)),
        exposure=float(rng.uniform(0.8, 1.15)),
    )
    box = box_around(project(hull_mm(CARDS[index]), stand, width, height), width, height)
    return painter.frame(stand, width, height), [] if box is None else [SeenObject(index, box)]


@cache
def _painter(name: str, variant: int) -> SheetPainter:
    """A sheet with a clean card, or with grey or noise on it somewhere."""
    rng = np.random.default_rng([27, 2, CARDS.index(name), variant])
    picture = object_picture(name)
    arm = ("clean", "plain", "noise")[variant % 3]
    if arm != "clean":
        side = _CARD_MM * float(np.sqrt(rng.uniform(0.03, 0.14)))
        x, y = (float(v) for v in rng.uniform(side / 2 - 60, 60 - side / 2, 2))
        content = control_picture("noise", int(rng.integers(1 << 31)))
        if arm == "plain":
            content = np.full_like(content, rng.integers(0, 256, 1 if variant % 2 else 3, np.uint8))
        picture = with_overlay(picture, _CARD_MM, Overlay((x, y), side), content)
    return SheetPainter(Sheet(int(rng.integers(SHEET_NUMBERS)), name, name, "clean"), picture)


def _free_scene(
    rng: np.random.Generator, size: Size, material: Material, photographed: float = 0.5
) -> tuple[Picture, list[SeenObject]]:
    width, height = size
    scene = _photograph(rng, size, material) if material.photographs and rng.random() < photographed else None
    scene = background(rng, width, height) if scene is None else scene
    objects: list[SeenObject] = []
    view = random_view(rng, None)
    for _ in range(int(rng.choice(4, p=(0.1, 0.35, 0.3, 0.25)))):
        index = int(rng.integers(len(CARDS)))
        distance = float(np.sqrt(rng.uniform(1.6**2, 10.0**2)))
        placed = random_view(rng, CARDS[index], (distance, distance))
        corners = project_card(replace(placed, x=0.0, y=0.0), width, height)
        corners = corners - corners.mean(axis=0)
        room = np.array([width, height]) / 2 - np.abs(corners).max(axis=0) * 0.9
        corners = corners + np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * np.maximum(room, 0)
        corners = corners.astype(np.float32)
        picture = _sign(rng, CARDS[index], material)
        if picture is None:
            picture, box = _marked(rng, card_at(CARDS[index], longest_edge(corners))), None
            box = card_box(CARDS[index], corners, width, height)
        else:
            middle = corners.mean(axis=0)
            box = box_around(middle + (corners - middle) * _SIGN_SHARE, width, height)
        if box is None or min(box[2] - box[0], box[3] - box[1]) < _SMALLEST * height:
            continue
        if any(_overlap(box, other.box) > _MOST_OVERLAP for other in objects):
            continue
        scene = paste(scene, picture, corners)
        objects.append(SeenObject(index, box))
    return seen_by_camera(scene, view, rng, width), objects


def _marked(rng: np.random.Generator, card: Picture) -> Picture:
    """One in four cards has a grey or noisy square on it."""
    if rng.random() > 0.25:
        return card
    side = _CARD_MM * float(np.sqrt(rng.uniform(0.02, 0.14)))
    x, y = (float(v) for v in rng.uniform(side / 2 - 58, 58 - side / 2, 2))
    content = control_picture("noise", int(rng.integers(1 << 31)))
    if rng.random() < 0.5:
        content = np.full_like(content, rng.integers(0, 256, 3, np.uint8))
    return with_overlay(card, _CARD_MM, Overlay((x, y), side), content)


def _overlap(a: Box, b: Box) -> float:
    """Of two boxes, share of the smaller one."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(wide, 0.0) * max(high, 0.0) / smaller


def _photograph(rng: np.random.Generator, size: Size, material: Material) -> NDArray[np.float32] | None:
    path = Path(material.photographs[int(rng.integers(len(material.photographs)))])
    picture = decode_whole(read_bounded(path, LARGEST_PICTURE, "the picture"))
    width, height = size
    scale = max(width / picture.shape[1], height / picture.shape[0]) * float(rng.uniform(1.0, 1.3))
    full = max(round(picture.shape[1] * scale), width), max(round(picture.shape[0] * scale), height)
    enlarged = np.asarray(cv2.resize(picture, full, interpolation=cv2.INTER_LINEAR), np.float32)
    left, top = int(rng.integers(full[0] - width + 1)), int(rng.integers(full[1] - height + 1))
    return enlarged[top : top + height, left : left + width].copy()


def _sign(rng: np.random.Generator, card: str, material: Material) -> Picture | None:
    """A photographed sign of the card's class, in two of five cases where there are some."""
    if material.signs is None or card not in SIGNS or rng.random() > 0.4:
        return None
    pictures = _signs(material.signs).get(SIGNS[card], ())
    return pictures[int(rng.integers(len(pictures)))] if pictures else None


@lru_cache(maxsize=1)
def _signs(path: str) -> dict[str, tuple[Picture, ...]]:
    wanted = set(SIGNS.values())
    found: dict[str, list[Picture]] = {}
    for entry in entries(Path(path), {".png"}):
        folder = Path(entry.name).parent.name
        if folder in wanted:
            rgb = decode_whole(entry.read())
            found.setdefault(folder, []).append(
                np.asarray(cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)
            )
    return {folder: tuple(pictures) for folder, pictures in found.items()}
