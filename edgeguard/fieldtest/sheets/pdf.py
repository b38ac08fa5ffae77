"""Sheets as PDF, in true millimetres: vector tags, lossless pictures; larger ones over several pages to glue."""

import io
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.layout import CHART_RGB, PAGES_MM, SCALE_BAR_MM, TAG_MODULES, PageName, Rect
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.sheets.tags import tag_modules
from edgeguard.system.extras import how_to_install

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_MARGIN = 4.0  # what printers do not reach
_OVERLAP = 10.0  # of neighbouring pages of a large sheet
_PIXELS_PER_MM = 300 / 25.4


def sheet_pdf(sheet: Sheet, picture: Picture, page: PageName = "A4") -> bytes:
    """The PDF of one sheet; see `sheets_pdf`."""
    return sheets_pdf([(sheet, picture)], page)


def sheets_pdf(sheets: list[tuple[Sheet, Picture]], page: PageName = "A4") -> bytes:
    """A page for each sheet, centred; a sheet that is too large takes several, which overlap by 10 mm.

    Args:
        sheets: manifests with the pictures of their objects.
        page: the paper.

    Raises:
        InputError: reportlab is not installed.
    """
    try:
        from reportlab.lib.units import mm
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise InputError(f"sheets need {error.name}: {how_to_install('sheets')}") from error

    width, height = PAGES_MM[page]
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(width * mm, height * mm), pageCompression=1, invariant=1)
    for sheet, picture in sheets:
        canvas.setTitle(f"EdgeGuard sheet {sheet.number}")
        drawing = _Drawing(canvas, mm)
        layout = sheet.layout
        if layout.fits(page):
            _placed(drawing, sheet, picture, (width - layout.width) / 2, (height - layout.height) / 2, height)
            canvas.showPage()
            continue
        step_x, step_y = width - 2 * _MARGIN - _OVERLAP, height - 2 * _MARGIN - _OVERLAP
        columns = ceil((layout.width - _OVERLAP) / step_x)
        rows = ceil((layout.height - _OVERLAP) / step_y)
        for row in range(rows):
            for column in range(columns):
                canvas.saveState()
                clip = canvas.beginPath()
                clip.rect(_MARGIN * mm, _MARGIN * mm, (width - 2 * _MARGIN) * mm, (height - 2 * _MARGIN) * mm)
                canvas.clipPath(clip, stroke=1)
                _placed(drawing, sheet, picture, _MARGIN - column * step_x, _MARGIN - row * step_y, height)
                canvas.restoreState()
                canvas.setFont("Helvetica", 7)
                canvas.drawString(
                    _MARGIN * mm, 1 * mm,
                    f"row {row + 1} of {rows}, column {column + 1} of {columns}; pages overlap by {_OVERLAP:g} mm",
                )  # fmt: skip
                canvas.showPage()
    canvas.save()
    return buffer.getvalue()


class _Drawing:
    """Rectangles, pictures and text in millimetres from the upper left corner of a sheet that stands somewhere."""

    def __init__(self, canvas: "Canvas", mm: float) -> None:
        self.canvas = canvas
        self.mm = mm
        self.left = self.top = self.page_height = 0.0

    def box(self, rect: Rect, rgb: tuple[int, int, int]) -> None:
        self.canvas.setFillColorRGB(*(level / 255 for level in rgb))
        x, y, w, h = self._points(rect)
        self.canvas.rect(x, y, w, h, stroke=0, fill=1)

    def picture(self, rect: Rect, picture: Picture) -> None:
        from PIL import Image
        from reportlab.lib.utils import ImageReader

        x, y, w, h = self._points(rect)
        self.canvas.drawImage(ImageReader(Image.fromarray(np.ascontiguousarray(picture))), x, y, w, h)

    def text(self, x: float, y: float, text: str, size: float = 8) -> None:
        self.canvas.setFillColorRGB(0, 0, 0)
        self.canvas.setFont("Helvetica", size)
        self.canvas.drawString((self.left + x) * self.mm, (self.page_height - self.top - y) * self.mm, text)

    def _points(self, rect: Rect) -> tuple[float, float, float, float]:
        x, y = self.left + rect.left, self.page_height - self.top - rect.top - rect.height
        return x * self.mm, y * self.mm, rect.width * self.mm, rect.height * self.mm


def _placed(drawing: _Drawing, sheet: Sheet, picture: Picture, left: float, top: float, page_height: float) -> None:
    drawing.left, drawing.top, drawing.page_height = left, top, page_height
    layout = sheet.layout
    drawing.picture(layout.object, _fine(picture, sheet.object_mm))
    for place, rect in enumerate(layout.tags):
        drawing.box(rect, (0, 0, 0))
        module = rect.width / TAG_MODULES
        for row, column in zip(*np.nonzero(~tag_modules(4 * sheet.number + place)), strict=True):
            white = Rect(rect.left + column * module, rect.top + row * module, module, module)
            drawing.box(white, (255, 255, 255))
    for color, rect in zip(CHART_RGB, layout.chart, strict=True):
        drawing.box(rect, color)
    drawing.box(layout.scale_bar, (0, 0, 0))
    bar = layout.scale_bar
    drawing.text(bar.left, bar.top - 1.5, f"{SCALE_BAR_MM:g} mm: print at 100 %, then measure this bar")
    target = f" -> {sheet.target}" if sheet.target else ""
    drawing.text(bar.left + SCALE_BAR_MM + 4, bar.top - 1.5, f"{sheet.object} / {sheet.arm}{target}")
    drawing.text(bar.left + SCALE_BAR_MM + 4, bar.top + 2, f"sheet {sheet.number}, {sheet.sha256[:8]}")


def _fine(picture: Picture, side_mm: float) -> Picture:
    """The picture at 300 dots per inch, so that readers and printers have nothing to smooth."""
    import cv2

    side = round(side_mm * _PIXELS_PER_MM)
    if side <= picture.shape[0]:
        return picture
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
