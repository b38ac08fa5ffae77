"""The contact sheet: rows of pictures with what the model said under each."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_GOOD, _BAD, _INK = (22, 120, 60), (190, 30, 30), (20, 20, 20)
_MARGIN, _CAPTION = 12, 58


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture, what was done to it, the answer, and whether that is right."""

    picture: Picture
    title: str
    answer: str
    correct: bool


def contact_sheet(rows: list[list[Tile]]) -> Picture:
    """All tiles on white, RGB; every row as long as the first."""
    height, width = rows[0][0].picture.shape[:2]
    cell_width, cell_height = width + _MARGIN, height + _CAPTION
    sheet = np.full((len(rows) * cell_height + _MARGIN, len(rows[0]) * cell_width + _MARGIN, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            _draw(sheet, tile, _MARGIN + j * cell_width, _MARGIN + i * cell_height)
    return sheet


def _draw(sheet: Picture, tile: Tile, left: int, top: int) -> None:
    height, width = tile.picture.shape[:2]
    sheet[top : top + height, left : left + width] = tile.picture
    color = _GOOD if tile.correct else _BAD
    cv2.rectangle(sheet, (left, top), (left + width - 1, top + height - 1), color, 3)
    cv2.putText(sheet, tile.title, (left + 2, top + height + 18), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
    verdict = "right" if tile.correct else "WRONG"
    cv2.putText(sheet, f"{verdict}: {tile.answer}", (left + 2, top + height + 40), _FONT, 0.55, color, 1, cv2.LINE_AA)
