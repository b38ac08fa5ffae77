"""Sheets as PDF, in true millimetres: vector tags, lossless pictures; larger ones over several pages to join."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.layout import CHART_RGB, PAGES_MM, SCALE_BAR_MM, TAG_MODULES, PageName, Rect
from edgeguard.fieldtest.sheets.patch_file import sticker
from edgeguard.fieldtest.sheets.sheet import Overlay, Picture, Sheet, on_white
from edgeguard.fieldtest.sheets.tags import tag_modules
from edgeguard.system.extras import how_to_install

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_MARGIN = 4.0  # what printers do not reach
_JOIN_MARGIN = 10.0  # around each page of a large sheet: room for the marks
_OVERLAP = 10.0  # of neighbouring pages of a large sheet
_PIXELS_PER_MM = 300 / 25.4
_LARGEST_PX = 4000  # along a picture: 600 mm at 170 dots per inch
_LONGEST_NAME = 24  # letters of an object's name on paper
_LINE = 0.25  # width of marks and cutting lines, mm


@dataclass(frozen=True, eq=False)
class _Board:
    """Something of a size in millimetres that is drawn on one page, or in parts on several."""

    width: float
    height: float
    draw: Callable[["_Drawing"], None]

    def fits(self, page: PageName) -> bool:
        """True where one page holds it."""
        width, height = PAGES_MM[page]
        return self.width <= width - 2 * _MARGIN and self.height <= height - 2 * _MARGIN


def sheet_pdf(sheet: Sheet, picture: Picture, page: PageName = "A4") -> bytes:
    """The PDF of one sheet; see `sheets_pdf`."""
    return sheets_pdf([(sheet, picture)], page)


def sheets_pdf(sheets: list[tuple[Sheet, Picture]], page: PageName = "A4") -> bytes:
    """A page for each sheet, centred; a sheet that is too large takes several, which overlap by 10 mm.

    What is cut out and fixed on a real object follows its paper, a page for each piece.

    Args:
        sheets: manifests with the pictures of their objects (see `build.made_sheet`).
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
        drawing = _Drawing(canvas, mm, height)
        for board in _boards(sheet, picture):
            if board.fits(page):
                drawing.left, drawing.top = (width - board.width) / 2, (height - board.height) / 2
                board.draw(drawing)
                canvas.showPage()
            else:
                _in_parts(drawing, board, width, height)
    canvas.save()
    return buffer.getvalue()


def _in_parts(drawing: "_Drawing", board: _Board, width: float, height: float) -> None:
    """On several pages, row by row: cut each at its left and top line and lay it on the triangles of its neighbour."""
    inner_width, inner_height = width - 2 * _JOIN_MARGIN, height - 2 * _JOIN_MARGIN
    step_x, step_y = inner_width - _OVERLAP, inner_height - _OVERLAP
    columns, rows = ceil((board.width - _OVERLAP) / step_x), ceil((board.height - _OVERLAP) / step_y)
    canvas, mm = drawing.canvas, drawing.mm
    for row in range(rows):
        for column in range(columns):
            canvas.saveState()
            clip = canvas.beginPath()
            clip.rect(_JOIN_MARGIN * mm, _JOIN_MARGIN * mm, inner_width * mm, inner_height * mm)
            canvas.clipPath(clip, stroke=0)
            drawing.left, drawing.top = _JOIN_MARGIN - column * step_x, _JOIN_MARGIN - row * step_y
            board.draw(drawing)
            canvas.restoreState()
            drawing.left = drawing.top = 0.0
            _joining_marks(drawing, width, height, row < rows - 1, column < columns - 1)
            told = f"row {row + 1} of {rows}, column {column + 1} of {columns}; pages overlap by {_OVERLAP:g} mm"
            if row or column:
                edges = " and ".join(["left"] * (column > 0) + ["upper"] * (row > 0))
                told += f"; cut here at the {edges} corner marks, lay the cut edge on the triangles of its neighbor"
            drawing.text(_JOIN_MARGIN + 8, height - 5, told, 7)
            canvas.showPage()


def _joining_marks(drawing: "_Drawing", width: float, height: float, has_below: bool, has_right: bool) -> None:
    """In the margins alone: corner lines to cut by, and triangles where the edge of the next page comes to lie."""
    near, right, bottom = _JOIN_MARGIN, width - _JOIN_MARGIN, height - _JOIN_MARGIN
    for x in (near, right):
        for y in (near, bottom):
            outward_x, outward_y = (-1 if x == near else 1), (-1 if y == near else 1)
            drawing.line((x, y + outward_y), (x, y + 6 * outward_y))
            drawing.line((x + outward_x, y), (x + 6 * outward_x, y))
    if has_right:
        for y, outward in ((near, -1), (bottom, 1)):
            drawing.triangle((right - _OVERLAP, y), (0, outward))
    if has_below:
        for x, outward in ((near, -1), (right, 1)):
            drawing.triangle((x, bottom - _OVERLAP), (outward, 0))


class _Drawing:
    """Rectangles, pictures and text in millimetres from the upper left corner of a sheet that stands somewhere."""

    def __init__(self, canvas: "Canvas", mm: float, page_height: float) -> None:
        self.canvas, self.mm, self.page_height = canvas, mm, page_height
        self.left = self.top = 0.0

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
        """A letter that PDF's standard font lacks is a question mark; reportlab would print a black square."""
        text = text.encode("cp1252", "replace").decode("cp1252")
        self.canvas.setFillColorRGB(0, 0, 0)
        self.canvas.setFont("Helvetica", size)
        self.canvas.drawString((self.left + x) * self.mm, (self.page_height - self.top - y) * self.mm, text)

    def line(self, start: tuple[float, float], end: tuple[float, float], *, dashed: bool = False) -> None:
        self.canvas.setStrokeColorRGB(0, 0, 0)
        self.canvas.setLineWidth(_LINE * self.mm)
        self.canvas.setDash([1.5 * self.mm] if dashed else [])
        self.canvas.line(*self._point(*start), *self._point(*end))

    def triangle(self, tip: tuple[float, float], outward: tuple[float, float]) -> None:
        """Filled; its tip touches the place, its body lies outward."""
        (x, y), (dx, dy) = tip, outward
        path = self.canvas.beginPath()
        path.moveTo(*self._point(x, y))
        path.lineTo(*self._point(x + 4 * dx - 1.5 * dy, y + 4 * dy - 1.5 * dx))
        path.lineTo(*self._point(x + 4 * dx + 1.5 * dy, y + 4 * dy + 1.5 * dx))
        path.close()
        self.canvas.setFillColorRGB(0, 0, 0)
        self.canvas.drawPath(path, stroke=0, fill=1)

    def cut_line(self, rect: Rect, shape: str) -> None:
        """Dashed, just outside of what is cut out."""
        self.canvas.setStrokeColorRGB(0, 0, 0)
        self.canvas.setLineWidth(_LINE * self.mm)
        self.canvas.setDash([1.5 * self.mm])
        out = _LINE
        x, y, w, h = self._points(Rect(rect.left - out, rect.top - out, rect.width + 2 * out, rect.height + 2 * out))
        if shape in ("round", "ring"):
            self.canvas.ellipse(x, y, x + w, y + h)
        else:
            self.canvas.rect(x, y, w, h)
        self.canvas.setDash([])

    def _point(self, x: float, y: float) -> tuple[float, float]:
        return (self.left + x) * self.mm, (self.page_height - self.top - y) * self.mm

    def _points(self, rect: Rect) -> tuple[float, float, float, float]:
        x, y = self.left + rect.left, self.page_height - self.top - rect.top - rect.height
        return x * self.mm, y * self.mm, rect.width * self.mm, rect.height * self.mm


def _boards(sheet: Sheet, picture: Picture) -> list[_Board]:
    """The sheet, and what is fixed on a real object besides."""
    layout = sheet.layout
    boards = [_Board(layout.width, layout.height, lambda drawing: _draw_sheet(drawing, sheet, picture))]
    if sheet.mount == "sheet":
        return boards
    for number, place in enumerate(sheet.overlays):
        if number == 0 and sheet.mount == "on":
            continue  # it is in the paper's window
        side = max(place.side_mm + 10, 100.0)
        boards.append(_Board(side, place.side_mm + 26, partial(_draw_piece, sheet, picture, number)))
    return boards


def _draw_sheet(drawing: _Drawing, sheet: Sheet, picture: Picture) -> None:
    layout = sheet.layout
    if sheet.window is None:
        drawing.picture(layout.object, _fine(picture, layout.object))
    else:
        _draw_window(drawing, sheet, picture)
    for place, rect in enumerate(layout.tags):
        drawing.box(rect, (0, 0, 0))
        module = rect.width / TAG_MODULES
        for row, column in zip(*np.nonzero(~tag_modules(4 * sheet.number + place)), strict=True):
            white = Rect(rect.left + column * module, rect.top + row * module, module, module)
            drawing.box(white, (255, 255, 255))
    if layout.chart:
        for color, rect in zip(CHART_RGB, layout.chart, strict=True):
            drawing.box(rect, color)
    drawing.box(layout.scale_bar, (0, 0, 0))
    bar = layout.scale_bar
    target = f" -> {sheet.target}" if sheet.target else ""
    told = f"{_short(sheet.object)} / {sheet.arm}{target}", f"sheet {sheet.number}, {sheet.sha256[:8]}"
    if layout.is_paper:
        size = 6 if bar.width == SCALE_BAR_MM else 4
        drawing.text(bar.left, bar.top - 1, f"{bar.width:g} mm: measure it. " + ", ".join(told), size)
        drawing.text(bar.left, bar.top + 4, _where_to_fix(sheet), size)
        return
    drawing.text(bar.left, bar.top - 1.5, f"{SCALE_BAR_MM:g} mm: print at 100 %, then measure this bar")
    drawing.text(bar.left + SCALE_BAR_MM + 4, bar.top - 1.5, told[0])
    drawing.text(bar.left + SCALE_BAR_MM + 4, bar.top + 2, told[1])


def _draw_window(drawing: _Drawing, sheet: Sheet, picture: Picture) -> None:
    """On the object the patch itself, or a window to cut out; beside it nothing."""
    place = sheet.layout.object
    if sheet.mount != "on":
        return
    if sheet.overlay is None:
        drawing.cut_line(place, "square")
        drawing.text(place.left + 2, place.center[1], "cut this window out: the object shows through", 7)
        return
    drawing.picture(place, on_white(_fine(sticker(picture, 0), place), sheet.overlay.shape))
    if sheet.overlay.shape != "square":
        drawing.cut_line(place, sheet.overlay.shape)


def _draw_piece(sheet: Sheet, picture: Picture, number: int, drawing: _Drawing) -> None:
    """One patch or control at its true size, to be cut out."""
    place = sheet.overlays[number]
    rect = Rect(5.0, 5.0, place.side_mm, place.side_mm)
    drawing.picture(rect, on_white(_fine(sticker(picture, number), rect), place.shape))
    drawing.cut_line(rect, place.shape)
    top = rect.top + rect.height
    name, which = f"{_short(sheet.object)} / {sheet.arm}", f"piece {number + 1} of {len(sheet.overlays)}"
    drawing.text(5, top + 7, f"{name}, {which}: {place.side_mm:.1f} mm wide", 7)
    drawing.text(5, top + 12, f"fix its middle {_from_the_middle(place)}", 7)
    drawing.text(5, top + 17, f"with sheet {sheet.number}, {sheet.sha256[:8]}", 7)


def _short(name: str) -> str:
    """A long name would push the number and the hash off the paper."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _where_to_fix(sheet: Sheet) -> str:
    assert sheet.window is not None
    if sheet.mount == "on":
        return f"on the object: the window's middle {_from_the_middle(sheet.window)}"
    return f"beside the object, in its plane: the middle of the four tags {_from_the_middle(sheet.window)}"


def _from_the_middle(place: Overlay) -> str:
    x, y = place.center_mm
    across = f"{abs(x):.0f} mm {'right' if x > 0 else 'left'} of"
    down = f"{abs(y):.0f} mm {'below' if y > 0 else 'above'}"
    parts = [across] * (abs(x) >= 0.5) + [down] * (abs(y) >= 0.5)
    return f"{' and '.join(parts)} the object's middle" if parts else "on the object's middle"


def _fine(picture: Picture, rect: Rect) -> Picture:
    """The picture at 300 dots per inch, so that readers and printers have nothing to smooth."""
    import cv2

    per_mm = min(_PIXELS_PER_MM, _LARGEST_PX / max(rect.width, rect.height))
    size = round(rect.width * per_mm), round(rect.height * per_mm)
    if size[0] <= picture.shape[1]:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
