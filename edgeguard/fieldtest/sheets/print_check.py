"""Checking a photograph of a print: which sheet it is, its true scale, its colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed, InputError
from edgeguard.fieldtest.sheets.color import balanced_linear, lab, linear_light
from edgeguard.fieldtest.sheets.layout import CHART_RGB, PAGES_MM, Layout
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.tags import FoundSheet, find_sheets

_GRAYS = 6
_LARGEST_ASPECT_ERROR = 0.02


@dataclass(frozen=True)
class PrintCheck:
    """What a photograph says of a print.

    Attributes:
        number: of the sheet, from its tags.
        tags: seen, of four.
        scale: printed size / wanted size, by the paper's outline and its known format; None where no outline was
            found (the paper has to lie on something darker).
        page: the format that fits the outline.
        color_error: mean CIE76 difference of the 18 colours, after exposure and white balance are fitted on the greys;
            None for a paper of a real object, which has no chart.
        worst_color: the largest one.
        fit_px: root mean square of what the sheet's corners are off a plane; more than 2 is a bent sheet.
    """

    number: int
    tags: int
    scale: float | None
    page: str | None
    color_error: float | None
    worst_color: float | None
    fit_px: float


def check_print(rgb: NDArray[np.uint8], sheet: Sheet | None = None) -> PrintCheck:
    """Check a photograph.

    Args:
        rgb: uint8 (h, w, 3).
        sheet: what should be on it; without, the default sizes are assumed.

    Raises:
        InputError: more or less than one sheet is seen, or its tags lie as on no flat sheet.
        CheckFailed: it is another sheet than the given one.
    """
    found = find_sheets(rgb)
    if not found:
        raise InputError("no tags in this photograph: all four should be seen, sharp and not over-exposed")
    if len(found) > 1:
        raise InputError(f"{len(found)} sheets in this photograph: show one")
    seen = found[0]
    if sheet is not None and seen.number != sheet.number:
        raise CheckFailed(f"this is sheet {seen.number}, not sheet {sheet.number}")
    try:
        return _checked(rgb, seen, sheet.layout if sheet is not None else Layout())
    except (cv2.error, np.linalg.LinAlgError, ValueError, OverflowError) as error:
        raise InputError(
            "the tags lie as on no flat sheet: photograph it flat, from the front, with all four tags"
        ) from error


def _checked(rgb: NDArray[np.uint8], seen: FoundSheet, layout: Layout) -> PrintCheck:
    """Of one sheet; numpy's and OpenCV's exceptions where its tags are in no possible places."""
    x0, y0 = layout.middle
    flat = layout.tag_corners()[list(seen.corners)].reshape(-1, 3)[:, :2] + np.array([x0, y0], np.float32)
    pixels = np.concatenate([*seen.corners.values()])
    to_pixels = np.asarray(cv2.findHomography(flat, pixels)[0], np.float64)
    back = cv2.perspectiveTransform(flat[None], to_pixels)[0]
    fit = float(np.sqrt(((back - pixels) ** 2).sum(1).mean()))
    errors = _color_errors(rgb, layout, to_pixels) if layout.chart else None
    scale, page = _scale(rgb, np.asarray(np.linalg.inv(to_pixels), np.float64), layout, pixels)
    mean, worst = (None, None) if errors is None else (float(errors.mean()), float(errors.max()))
    return PrintCheck(seen.number, len(seen.corners), scale, page, mean, worst, fit)


def _color_errors(rgb: NDArray[np.uint8], layout: Layout, to_pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE76 of each colour patch."""
    measured = []
    for rect in layout.chart:
        inner = np.array(
            [[rect.left + f * rect.width, rect.top + g * rect.height] for f in (0.3, 0.5, 0.7) for g in (0.3, 0.5, 0.7)]
        )
        places = cv2.perspectiveTransform(inner[None].astype(np.float32), to_pixels)[0]
        columns = np.clip(np.rint(places[:, 0]).astype(int), 0, rgb.shape[1] - 1)
        rows = np.clip(np.rint(places[:, 1]).astype(int), 0, rgb.shape[0] - 1)
        measured.append(np.median(rgb[rows, columns], axis=0))
    wanted, grays = np.array(CHART_RGB, np.float64), np.arange(len(CHART_RGB)) < _GRAYS
    balanced = balanced_linear(np.array(measured), wanted, grays)
    return np.asarray(np.linalg.norm(lab(balanced) - lab(linear_light(wanted)), axis=1)[_GRAYS:])


def _scale(
    rgb: NDArray[np.uint8], to_mm: NDArray[np.float64], layout: Layout, tags: NDArray[np.float32]
) -> tuple[float | None, str | None]:
    """Nominal paper size / paper size in the sheet's own millimetres: the bigger the print, the smaller the paper."""
    outline = _paper(rgb, tags)
    if outline is None:
        return None, None
    corners = cv2.perspectiveTransform(outline[None].astype(np.float32), to_mm)[0]
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = sorted(((sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2))
    for page, (page_width, page_height) in PAGES_MM.items():
        if abs(height / width / (page_height / page_width) - 1) < _LARGEST_ASPECT_ERROR:
            return float((page_width / width + page_height / height) / 2), page
    return None, None


def _paper(rgb: NDArray[np.uint8], tags: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Corners of the bright quadrilateral around the tags, or None."""
    gray = np.asarray(cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), 1.5), np.uint8)
    hull = np.rint(cv2.convexHull(tags)).astype(np.int32)
    inside = np.zeros(gray.shape, np.uint8)
    cv2.fillConvexPoly(inside, hull, 1)
    paper_level = float(np.percentile(gray[inside > 0], 90))
    for share in (0.75, 0.65, 0.85):
        bright = ((gray > share * paper_level) | (inside > 0)).astype(np.uint8)
        opened = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        around = [
            c for c in contours if all(cv2.pointPolygonTest(c, (float(x), float(y)), False) >= 0 for x, y in tags)
        ]
        for contour in around:
            quad = cv2.approxPolyDP(cv2.convexHull(contour), 0.02 * cv2.arcLength(contour, True), True)
            left, top, width, height = cv2.boundingRect(quad)
            whole = left > 1 and top > 1 and left + width < rgb.shape[1] - 1 and top + height < rgb.shape[0] - 1
            if len(quad) == 4 and whole:
                return _refined(gray, quad.reshape(4, 2).astype(np.float32), paper_level)
    return None


def _refined(gray: NDArray[np.uint8], quad: NDArray[np.float32], paper_level: float) -> NDArray[np.float32]:
    """The corners as crossings of straight lines fitted to the steepest points along the edges."""
    lines = []
    for a, b in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        along = b - a
        normal = np.array([along[1], -along[0]]) / np.linalg.norm(along)
        points = []
        for t in np.linspace(0.08, 0.92, 60):
            reach = np.arange(-8, 8.25, 0.25)
            track = a + t * along + reach[:, None] * normal
            values = cv2.remap(
                gray, track[:, 0].astype(np.float32)[None], track[:, 1].astype(np.float32)[None], cv2.INTER_LINEAR
            )[0].astype(np.float64)
            slope = np.abs(np.gradient(values))
            if slope.max() > 0.01 * paper_level:
                points.append(track[int(slope.argmax())])
        if len(points) <= 10:
            return quad
        line = cv2.fitLine(np.array(points, np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01)
        lines.append(np.asarray(line, np.float64).ravel())
    return np.array([_crossing(lines[k - 1], lines[k]) for k in range(4)], np.float32)


def _crossing(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two lines (vx, vy, x, y)."""
    matrix = np.array([[first[0], -second[0]], [first[1], -second[1]]], np.float64)
    t = np.linalg.solve(matrix, (second[2:] - first[2:]).astype(np.float64))[0]
    return np.asarray(first[2:] + t * first[:2])
