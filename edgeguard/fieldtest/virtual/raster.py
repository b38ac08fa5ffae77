"""What stands before the camera, flat and in millimetres: a sheet, or a real object with its papers and pieces."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.cutout import Cutout
from edgeguard.fieldtest.sheets.layout import Rect
from edgeguard.fieldtest.sheets.patch_file import sticker
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture, Sheet, mask_of, on_white, sheet_raster

#: uint8 (h, w, 3) as sent to a printer, to float32 levels as a camera sees the print in full light.
PrintedColors = Callable[[Picture], NDArray[np.float32]]
_PIXELS_PER_MM = 4.0
_LONGEST_PX = 2400
_PAPER_GAIN, _INK_LIFT = 0.92, 6.0  # what the virtual camera makes of all levels; see `field`


@dataclass(frozen=True, eq=False)
class Raster:
    """A flat picture with a place.

    Attributes:
        rgb: uint8 (h, w, 3).
        alpha: uint8 (h, w), 255 where something is; None where it is everywhere.
        left_mm, top_mm: of its upper left corner, from the object's middle.
        pixels_per_mm: its scale.
    """

    rgb: Picture
    alpha: NDArray[np.uint8] | None
    left_mm: float
    top_mm: float
    pixels_per_mm: float

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """(4, 3), clockwise from the upper left, z = 0."""
        right = self.left_mm + self.rgb.shape[1] / self.pixels_per_mm
        bottom = self.top_mm + self.rgb.shape[0] / self.pixels_per_mm
        left, top = self.left_mm, self.top_mm
        return np.array([[left, top, 0], [right, top, 0], [right, bottom, 0], [left, bottom, 0]])


def field_raster(
    sheet: Sheet, picture: Picture, cutout: Cutout | None = None, printer: PrintedColors | None = None
) -> Raster:
    """The sheet, or the object with what is fixed on and beside it.

    Args:
        sheet, picture: see `build.made_sheet`.
        cutout: the picture of a real object that is not printed; without, a grey one of its outline.
        printer: what a printer makes of colours; without, they are printed as they are.
    """

    def through(colors: Picture) -> Picture:
        return colors if printer is None else _on_paper(colors, printer)

    layout = sheet.layout
    if sheet.mount == "sheet":
        per_mm = _PIXELS_PER_MM
        if sheet.about is not None:
            per_mm = min(per_mm, _LONGEST_PX / max(layout.width, layout.height))
        x, y = layout.middle
        return Raster(through(sheet_raster(sheet, picture, per_mm)), None, -x, -y, per_mm)
    return _around_an_object(sheet, picture, cutout, through)


def _around_an_object(
    sheet: Sheet, picture: Picture, cutout: Cutout | None, through: Callable[[Picture], Picture]
) -> Raster:
    about, layout = sheet.about, sheet.layout
    assert about is not None
    box = Rect(-about.width_mm / 2, -about.height_mm / 2, about.width_mm, about.height_mm)
    pieces = [_square(place) for place in sheet.overlays]
    x, y = layout.middle
    paper = [Rect(-x, -y, layout.width, layout.height)] if sheet.window is not None else []
    every = [box, *pieces, *paper]
    left, top = min(rect.left for rect in every), min(rect.top for rect in every)
    width = max(rect.left + rect.width for rect in every) - left
    height = max(rect.top + rect.height for rect in every) - top
    per_mm = min(_PIXELS_PER_MM, _LONGEST_PX / max(width, height))
    canvas = Raster(
        np.zeros((round(height * per_mm), round(width * per_mm), 3), np.uint8),
        np.zeros((round(height * per_mm), round(width * per_mm)), np.uint8), left, top, per_mm,
    )  # fmt: skip
    _lay(canvas, box, *((cutout.rgb, cutout.alpha) if cutout is not None else _gray(about.outline)))
    bare = canvas.rgb.copy(), np.array(canvas.alpha)
    for rect in paper:
        shows_patch = sheet.mount == "on" and sheet.overlay is not None
        window = on_white(sticker(picture, 0), sheet.overlays[0].shape) if shows_patch else _WHITE
        _lay(canvas, rect, through(sheet_raster(sheet, window, per_mm)), None)
        if sheet.mount == "on" and sheet.overlay is None and sheet.window is not None:
            hole = _slices(canvas, _square(sheet.window))  # cut out: the object shows through
            canvas.rgb[hole] = bare[0][hole]
            assert canvas.alpha is not None
            canvas.alpha[hole] = bare[1][hole]
    for number, (place, rect) in enumerate(zip(sheet.overlays, pieces, strict=True)):
        if number == 0 and sheet.mount == "on":
            continue
        cover = np.asarray(mask_of(place.shape, 128) * 255, np.uint8)
        _lay(canvas, rect, through(sticker(picture, number)), cover)
    return canvas


_WHITE = np.full((8, 8, 3), 255, np.uint8)


def _square(place: Overlay) -> Rect:
    (x, y), side = place.center_mm, place.side_mm
    return Rect(x - side / 2, y - side / 2, side, side)


def _gray(outline: tuple[tuple[float, float], ...]) -> tuple[Picture, NDArray[np.uint8]]:
    side = 256
    cover = np.zeros((side, side), np.uint8)
    cv2.fillPoly(cover, [np.rint((np.array(outline) + 0.5) * side).astype(np.int32)], 255)
    return np.full((side, side, 3), 128, np.uint8), cover


def _slices(canvas: Raster, rect: Rect) -> tuple[slice, slice]:
    top, left = (rect.top - canvas.top_mm) * canvas.pixels_per_mm, (rect.left - canvas.left_mm) * canvas.pixels_per_mm
    height, width = rect.height * canvas.pixels_per_mm, rect.width * canvas.pixels_per_mm
    return (
        slice(round(top), max(round(top + height), round(top) + 1)),
        slice(round(left), max(round(left + width), round(left) + 1)),
    )


def _lay(canvas: Raster, rect: Rect, rgb: Picture, cover: NDArray[np.uint8] | None) -> None:
    """Put a picture there, in place; what it covers is hidden."""
    place = _slices(canvas, rect)
    below = canvas.rgb[place]
    size = (below.shape[1], below.shape[0])
    shrinks = size[0] < rgb.shape[1]
    laid = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    share: NDArray[np.float32] = np.ones((size[1], size[0]), np.float32)
    if cover is not None:
        share = np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_AREA) / 255, np.float32)
    below[:] = np.rint(below * (1 - share[:, :, None]) + laid * share[:, :, None]).astype(np.uint8)
    assert canvas.alpha is not None
    canvas.alpha[place] = np.maximum(canvas.alpha[place], np.rint(share * 255).astype(np.uint8))


def _on_paper(colors: Picture, printer: PrintedColors) -> Picture:
    """Levels that the virtual camera turns into what the printer's map says."""
    return np.asarray(np.clip(np.rint((printer(colors) - _INK_LIFT) / _PAPER_GAIN), 0, 255), np.uint8)
