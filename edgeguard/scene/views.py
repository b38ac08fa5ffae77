"""Rendering a card as a camera would see it: perspective, distance, light, blur, noise, background.

The camera is a pinhole with the field of view of the Raspberry Pi Camera Module 2 (62.2 degrees across). Distances
are in card widths from the lens to the card's middle; the angle is the one between the lens axis and the card's
normal.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.scene.cards import CARDS, SIDE, draw_card

Picture = NDArray[np.uint8]
FIELD_OF_VIEW_DEG = 62.2
MIN_DISTANCE, MAX_DISTANCE, MAX_ANGLE_DEG = 1.4, 10.0, 45.0


@dataclass(frozen=True)
class View:
    """One view of a card; `card` is None for a scene without one.

    Attributes:
        distance: card widths.
        angle_deg: between the lens axis and the card's normal.
        tilt_deg: direction of that angle, 0 is a turn about the vertical.
        roll_deg: rotation in the picture.
        x, y: place of the card's middle in the picture, -1..1 of what keeps it inside the central square.
        seed: of everything else (background, light, blur, noise).
        noise: standard deviation of the sensor's noise, levels.
        blur: standard deviation of the lens blur, pixels at 640 across.
    """

    card: str | None
    distance: float
    angle_deg: float
    tilt_deg: float
    roll_deg: float
    x: float
    y: float
    seed: int
    noise: float = 2.0
    blur: float = 0.6


def random_view(
    rng: np.random.Generator,
    card: str | None,
    distance: tuple[float, float] = (MIN_DISTANCE, MAX_DISTANCE),
    angle_deg: tuple[float, float] = (0.0, MAX_ANGLE_DEG),
) -> View:
    """A view drawn uniformly from the given ranges."""
    return View(
        card=card,
        distance=float(rng.uniform(*distance)),
        angle_deg=float(rng.uniform(*angle_deg)),
        tilt_deg=float(rng.uniform(0, 360)),
        roll_deg=float(rng.uniform(-10, 10)),
        x=float(rng.uniform(-1, 1)),
        y=float(rng.uniform(-1, 1)),
        seed=int(rng.integers(1 << 31)),
        noise=float(rng.uniform(0.5, 4)),
        blur=float(rng.uniform(0.3, 1.2)),
    )


def render(view: View, width: int = 640, height: int = 480) -> Picture:
    """The frame that the camera gives for a view, RGB uint8; the same bytes for the same view."""
    rng = np.random.default_rng(view.seed)
    scene = background(rng, width, height)
    if view.card is not None:
        corners = project_card(view, width, height)
        scene = paste(scene, card_at(view.card, longest_edge(corners)), corners)
    return seen_by_camera(scene, view, rng, width)


def clip_views() -> list[View]:
    """The bundled clip: three cards come nearer while they turn, one after another."""
    views = []
    for number, card in enumerate(("stop", "left", "yield")):
        for step in range(8):
            t = step / 7
            distance, angle, roll, x = 5.9 - 2.6 * t, 32 * (1 - t), 5 - 8 * t, 0.4 - 0.8 * t
            views.append(View(card, distance, angle, 20 + 40 * number, roll, x, 0.2, 7 + number, noise=0.3))
    return views


@cache
def _card_levels(name: str) -> tuple[Picture, ...]:
    """The card at halved sizes, so that warping never skips pixels."""
    card = draw_card(name)
    sizes = [SIDE >> level for level in range(6)]
    return tuple(np.asarray(cv2.resize(card, (s, s), interpolation=cv2.INTER_AREA), np.uint8) for s in sizes)


def card_at(name: str, edge: float) -> Picture:
    """The card's picture, at the smallest kept size that an edge of so many pixels can be warped from."""
    levels = _card_levels(name)
    fitting = [level for level in levels if level.shape[0] >= 1.2 * edge]
    return fitting[-1] if fitting else levels[0]


def project_card(view: View, width: int, height: int) -> NDArray[np.float32]:
    """The card's four corners in the picture, clockwise from the upper left."""
    focal = width / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW_DEG / 2))
    tilt, angle, roll = np.deg2rad([view.tilt_deg, view.angle_deg, view.roll_deg])
    axis = np.array([np.sin(tilt), np.cos(tilt), 0.0])
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    spin = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1.0]])
    turned = corners @ spin.T
    turned = (  # Rodrigues' formula
        turned * np.cos(angle)
        + np.cross(axis, turned) * np.sin(angle)
        + np.outer(turned @ axis, axis) * (1 - np.cos(angle))
    )
    turned[:, 2] += view.distance
    flat = focal * turned[:, :2] / turned[:, 2:]
    room = np.maximum(0.4 * height - np.abs(flat).max(axis=0), 0)  # inside the central crop of 0.875
    middle = np.array([width / 2, height / 2]) + np.array([view.x, view.y]) * room
    return (flat + middle).astype(np.float32)


def longest_edge(corners: NDArray[np.float32]) -> float:
    """Of a card's outline, pixels."""
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).max())


def paste(scene: NDArray[np.float32], card: Picture, corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """A square picture in perspective over a scene (h, w, 3)."""
    side = card.shape[0]
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(square, corners - 0.5)
    size = (scene.shape[1], scene.shape[0])
    warped = cv2.warpPerspective(card.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(np.ones((side, side), np.float32), matrix, size, flags=cv2.INTER_LINEAR)[:, :, None]
    return (scene * (1 - cover) + warped * cover).astype(np.float32)


def background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Smooth colour, coarse texture, and a clutter of rectangles, discs and bars."""
    cells = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    coarse = (rng.uniform(40, 215, (*cells, 1)) + rng.uniform(-45, 45, (*cells, 3))).astype(np.float32)
    scene = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    rows = int(rng.integers(8, 40))
    texture = rng.normal(0, rng.uniform(2, 22), (rows, rows * 4 // 3, 1)).astype(np.float32)
    scene += cv2.resize(texture, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, None]
    for _ in range(int(rng.integers(0, 12))):
        color = rng.uniform(10, 245, 3).tolist()
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = int(rng.uniform(0.03, 0.3) * width), int(rng.uniform(0.03, 0.3) * height)
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(scene, (x, y), (x + w, y + h), color, -1)
        elif kind == 1:
            cv2.circle(scene, (x, y), min(w, h) // 2 + 2, color, -1)
        else:
            cv2.line(scene, (x, y), (x + w, y - h), color, int(rng.integers(2, 10)))
    return scene


def seen_by_camera(scene: NDArray[np.float32], view: View, rng: np.random.Generator, width: int) -> Picture:
    """Light, lens and sensor."""
    height = scene.shape[0]
    gain, warmth = rng.uniform(0.65, 1.15), rng.uniform(0.9, 1.1)
    slope = rng.uniform(-0.25, 0.25, 2)
    light = gain * (1 + slope[0] * np.linspace(-1, 1, width)[None, :] + slope[1] * np.linspace(-1, 1, height)[:, None])
    lit = scene * light[:, :, None].astype(np.float32) * np.array([warmth, 1.0, 2 - warmth], np.float32)
    lit = cv2.GaussianBlur(lit, (0, 0), max(view.blur * width / 640, 0.2))
    lit += rng.normal(0, view.noise, lit.shape).astype(np.float32)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def stand_in_views(count: int = 64) -> list[View]:
    """Views of all cards for calibration without photographs; seeds apart from those of training and testing."""
    rng = np.random.default_rng(20_000)
    names: list[str | None] = [*CARDS, None]
    return [random_view(rng, names[i % len(names)]) for i in range(count)]
