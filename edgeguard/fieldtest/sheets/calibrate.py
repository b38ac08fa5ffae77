"""Measuring a printer and a camera from one photograph of a printed chart: colours and blur."""

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.chart import CELLS, chart_cells, strip_cells, white_cells
from edgeguard.fieldtest.sheets.color import balanced_linear, lab, linear_light
from edgeguard.fieldtest.sheets.edge_blur import edge_blur_px
from edgeguard.fieldtest.sheets.layout import Layout, Rect
from edgeguard.fieldtest.sheets.printer_map import (
    PAPER_LEVEL,
    PrinterMap,
    fitted_coefficients,
    fitted_degree,
    left_out,
)
from edgeguard.fieldtest.sheets.tags import FoundSheet, find_sheets

_SMALLEST_CELL_PX = 4.0
_BURNT, _DARK = 252.0, 70.0
_LARGEST_FIT_PX = 3.0


def calibrate(photo: bytes, number: int, layout: Layout, *, is_chart: bool = True) -> PrinterMap:
    """A printer's map from a photograph.

    Args:
        photo: an image file of the print, flat and evenly lit, all tags in view.
        number: of the sheet that should be on it.
        layout: of that sheet.
        is_chart: it is the sheet of `--card chart`; of any other only the strip of 24 colours is used.

    Raises:
        InputError: no sheet, several, another one or a bent one; too small, too dark, over-exposed.
        JpegError: no picture.
    """
    rgb = decode_whole(photo)
    seen, to_pixels = _found(rgb, number, layout)
    cells = chart_cells(layout) if is_chart else tuple(strip_cells(layout))
    sides = [_side_px(rect, to_pixels) for rect, _ in cells]
    if min(sides) < _SMALLEST_CELL_PX:
        raise InputError(f"a color is {min(sides):.0f} pixels wide in this photograph: come nearer")
    levels = np.array([_median(rgb, rect, to_pixels) for rect, _ in cells])
    wanted = np.array([color for _, color in cells], np.float64)
    white = _white(levels, cells, is_chart)
    if white.max() >= _BURNT:
        raise InputError(
            "the white paper is over-exposed in this picture. Of a photograph: less light, or a shorter exposure. A "
            "page that was never printed has no printer to measure: photograph the print."
        )
    if white.min() < _DARK:
        raise InputError("the photograph is too dark to measure colors: more light, or a longer exposure")
    came = levels * (PAPER_LEVEL / white)
    degree = fitted_degree(len(np.unique(wanted, axis=0)))
    sent, share = wanted / 255, came / 255
    said = np.clip(left_out(sent, share, degree), 0, 1) * 255
    truth = lab(linear_light(came))
    before = lab(balanced_linear(wanted, came, np.ptp(wanted, axis=1) == 0))
    blur = edge_blur_px(rgb, layout, seen, to_pixels)
    return PrinterMap(
        degree,
        tuple((float(r), float(g), float(b)) for r, g, b in fitted_coefficients(sent, share, degree)),
        blur_px=round(blur * 640 / max(rgb.shape[:2]), 4),  # a phone held upright has the same lens
        blur_mm=round(blur * 10.0 / _side_px(Rect(layout.object.left, layout.object.top, 10, 10), to_pixels), 4),
        colors=len(cells),
        error_before=round(float(np.linalg.norm(before - truth, axis=1).mean()), 3),
        error_after=round(float(np.linalg.norm(lab(linear_light(said)) - truth, axis=1).mean()), 3),
        photo_sha256=hashlib.sha256(photo).hexdigest(),
    )


def _found(rgb: NDArray[np.uint8], number: int, layout: Layout) -> tuple[FoundSheet, NDArray[np.float64]]:
    found = find_sheets(rgb)
    if not found:
        raise InputError("no tags in this photograph: all four should be seen, sharp and not over-exposed")
    if len(found) > 1:
        raise InputError(f"{len(found)} sheets in this photograph: show one")
    seen = found[0]
    if seen.number != number:
        raise InputError(f"this is sheet {seen.number}, not sheet {number}: give the sheet that you printed (--sheet)")
    if len(seen.corners) < 4:
        raise InputError(f"{len(seen.corners)} of 4 tags are seen: all four are needed")
    flat = layout.tag_corners()[list(seen.corners)].reshape(-1, 3)[:, :2] + np.array(layout.middle, np.float32)
    pixels = np.concatenate([*seen.corners.values()])
    to_pixels = np.asarray(cv2.findHomography(flat, pixels)[0], np.float64)
    back = cv2.perspectiveTransform(flat[None], to_pixels)[0]
    if float(np.sqrt(((back - pixels) ** 2).sum(1).mean())) > _LARGEST_FIT_PX:
        raise InputError("the sheet is not flat in this photograph: lay it on a table or a board")
    return seen, to_pixels


def _corners(rect: Rect, to_pixels: NDArray[np.float64], inset: float = 0.0) -> NDArray[np.float32]:
    x0, x1 = rect.left + inset * rect.width, rect.left + (1 - inset) * rect.width
    y0, y1 = rect.top + inset * rect.height, rect.top + (1 - inset) * rect.height
    quad = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], np.float32)
    return np.asarray(cv2.perspectiveTransform(quad, to_pixels)[0], np.float32)


def _side_px(rect: Rect, to_pixels: NDArray[np.float64]) -> float:
    quad = _corners(rect, to_pixels)
    return float(np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1).min())


def _median(rgb: NDArray[np.uint8], rect: Rect, to_pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the inner part of a patch, where no neighbour blurs in."""
    xs, ys = np.meshgrid(np.linspace(0.3, 0.7, 7), np.linspace(0.3, 0.7, 7))
    places = np.stack([rect.left + xs.ravel() * rect.width, rect.top + ys.ravel() * rect.height], -1)
    track = cv2.perspectiveTransform(places[None].astype(np.float32), to_pixels)[0]
    values = cv2.remap(rgb, track[None, :, 0], track[None, :, 1], cv2.INTER_LINEAR)[0]
    return np.asarray(values.astype(np.float64).mean(0))


def _white(
    levels: NDArray[np.float64], cells: tuple[tuple[Rect, tuple[int, int, int]], ...], is_chart: bool
) -> NDArray[np.float64]:
    """(n, 3): the level of white paper at each patch; on the chart a plane through its whites."""
    if not is_chart:
        return np.broadcast_to(levels[0], levels.shape)  # the strip begins with white
    middle = np.array([rect.center for rect, _ in cells])
    design = np.column_stack([np.ones(len(cells)), middle])
    whites = white_cells()
    assert whites.max() < CELLS * CELLS
    plane = np.linalg.lstsq(design[whites], levels[whites], rcond=None)[0]
    return np.asarray(design @ plane)
