"""Pictures of tables and certificates."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.profile import GuardProfile
from edgeguard.guard.certificate import Certificate
from edgeguard.jpeg.blocks import BLOCK

_CELL = 44
_STRIP = 256  # rows
_MOST_SIDE = 16_384  # of a picture that is enlarged
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Red: a change of one level may get through; amber: safe at +-1; green: safe at +-2.
_MARGIN_COLORS = ((1.0, (200, 40, 40)), (2.0, (235, 170, 30)), (np.inf, (40, 150, 70)))


def draw_tables(profile: GuardProfile) -> NDArray[np.uint8]:
    """The profile's tables side by side as labelled heat maps, RGB."""
    shared = {"rgb": "R, G, B", "gray": "luma"}.get(profile.color, "Y, Cb, Cr")
    names: tuple[str, ...] = (shared,)
    if len(profile.tables) == 3:
        names = ("R", "G", "B") if profile.color == "rgb" else ("Y", "Cb", "Cr")
    panels = [_draw_table(table, name) for table, name in zip(profile.tables, names, strict=True)]
    gap = np.full((panels[0].shape[0], 16, 3), 255, np.uint8)
    row = panels[0]
    for panel in panels[1:]:
        row = np.hstack([row, gap, panel])
    header = np.full((40, row.shape[1], 3), 255, np.uint8)
    cv2.putText(header, f"{profile.name}  ({profile.color})", (8, 27), _FONT, 0.6, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([header, row])


def draw_certificate(frame: NDArray[np.uint8], certificate: Certificate) -> NDArray[np.uint8]:
    """The frame with each block tinted by its margin, and a legend below, RGB."""
    margins = certificate.map.min(axis=2)
    tint = np.zeros((*margins.shape, 3), np.uint8)
    for limit, color in reversed(_MARGIN_COLORS):
        tint[margins <= limit] = color
    tint = tint.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[: frame.shape[0], : frame.shape[1]]
    blended: NDArray[np.uint8] = np.empty(frame.shape, np.uint8)
    for top in range(0, len(frame), _STRIP):  # as floats a large frame is gigabytes
        rows = slice(top, top + _STRIP)
        blended[rows] = (0.55 * frame[rows].mean(axis=2, keepdims=True) + 0.45 * tint[rows]).astype(np.uint8)
    scale = max(1, min(round(560 / blended.shape[1]), _MOST_SIDE // max(blended.shape[:2])))
    blended = blended.repeat(scale, axis=0).repeat(scale, axis=1)
    legend = np.full((64, blended.shape[1], 3), 255, np.uint8)
    labels = ("+-1 may get through", "safe at +-1", "safe at +-2")
    for index, ((_, color), label) in enumerate(zip(_MARGIN_COLORS, labels, strict=True)):
        left = 10 + index * blended.shape[1] // 3
        cv2.rectangle(legend, (left, 8), (left + 14, 22), color, -1)
        cv2.putText(legend, label, (left + 20, 20), _FONT, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
    share = f"{certificate.share_1:.1%} of channel blocks safe at +-1, {certificate.share_2:.1%} at +-2"
    cv2.putText(legend, share, (10, 50), _FONT, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([blended, legend])


def _draw_table(table: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    panel = np.full((8 * _CELL + 28, 8 * _CELL, 3), 255, np.uint8)
    cv2.putText(panel, name, (4, 18), _FONT, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    low, high = min(table), max(table)
    for index, step in enumerate(table):
        top, left = 28 + index // 8 * _CELL, index % 8 * _CELL
        shade = (step - low) / (high - low) if high > low else 0.0
        color = tuple(int(a + (b - a) * shade) for a, b in zip((222, 235, 247), (33, 90, 160), strict=True))
        cv2.rectangle(panel, (left, top), (left + _CELL - 2, top + _CELL - 2), color, -1)
        ink = (255, 255, 255) if shade > 0.6 else (20, 20, 20)
        text = str(step)
        width = cv2.getTextSize(text, _FONT, 0.45, 1)[0][0]
        cv2.putText(panel, text, (left + (_CELL - width) // 2, top + 27), _FONT, 0.45, ink, 1, cv2.LINE_AA)
    return panel
