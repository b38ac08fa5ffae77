"""A printer and camera measured from a photograph of a printed chart; the truth is a halftone printer's."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.calibrate import calibrate
from edgeguard.fieldtest.sheets.chart import CELLS, chart_colors, white_cells
from edgeguard.fieldtest.sheets.printer_map import PrinterMap, read_printer, write_printer
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand
from edgeguard.fieldtest.virtual.printer import HalftonePrinter, known_difference

SIZE = (1200, 900)
OFFICE, FADED = HalftonePrinter(), HalftonePrinter("faded", dot_gain=0.18)


def _frame(truth: HalftonePrinter, card: str = "chart", blur: float = 0.7) -> NDArray[np.uint8]:
    painter = SheetPainter(*made_sheet(card, "clean"), printer=truth)
    return painter.frame(Stand(330.0, 4.0, 40.0, 2.0, seed=5, light="warm", noise=1.5, blur=blur), *SIZE)


def _map(frame: NDArray[np.uint8], card: str = "chart") -> PrinterMap:
    sheet, _ = made_sheet(card, "clean")
    photo = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    return calibrate(photo, sheet.number, sheet.layout, is_chart=card == "chart")


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint8]:
    """A photograph of the chart from the office printer."""
    return _frame(OFFICE)


@pytest.fixture(scope="module")
def printer(frame: NDArray[np.uint8]) -> PrinterMap:
    """Its map."""
    return _map(frame)


def test_the_chart_holds_its_colours_once_and_whites_spread_over_it() -> None:
    colors = chart_colors().reshape(-1, 3)
    assert len(colors) == CELLS**2 and (colors[white_cells()] == 255).all()
    assert len(np.unique(colors, axis=0)) == 125 + 11


def _known(truth: HalftonePrinter, printer: PrinterMap) -> tuple[float, float]:
    sent = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    return known_difference(sent, truth(sent), printer(sent))


def test_the_error_of_colours_is_at_least_halved(printer: PrinterMap) -> None:
    assert printer.degree == 3 and printer.colors == 168
    before, after = _known(OFFICE, printer)
    assert after <= before / 2 and printer.error_after <= printer.error_before / 2


@pytest.mark.full
def test_a_worse_printer_and_more_blur_are_measured_too() -> None:
    printer = _map(_frame(FADED, blur=1.4))
    before, after = _known(FADED, printer)
    assert after <= before / 2 and printer.blur_px == pytest.approx(1.4, rel=0.2)


def test_the_blur_is_the_cameras(printer: PrinterMap) -> None:
    assert printer.blur_px == pytest.approx(0.7, rel=0.2) and printer.blur_mm > 0


def test_a_phone_held_upright_has_the_same_lens(frame: NDArray[np.uint8], printer: PrinterMap) -> None:
    upright = _map(np.ascontiguousarray(np.rot90(frame)))
    assert upright.blur_px == pytest.approx(printer.blur_px, rel=0.1)


def test_any_sheet_gives_a_coarser_map() -> None:
    printer = _map(_frame(OFFICE, "stop"), "stop")
    before, after = _known(OFFICE, printer)
    assert printer.degree == 2 and printer.colors == 24 and after < before / 2


def test_photographs_that_measure_nothing(frame: NDArray[np.uint8]) -> None:
    burnt, dark = (np.clip(frame * gain, 0, 255).astype(np.uint8) for gain in (1.5, 0.25))
    with pytest.raises(InputError, match="over-exposed.*photograph the print"):
        _map(burnt)
    with pytest.raises(InputError, match="too dark"):
        _map(dark)
    with pytest.raises(InputError, match="not sheet"):
        _map(frame, "stop")
    with pytest.raises(InputError, match="no tags"):
        _map(np.full((300, 400, 3), 99, np.uint8))


def test_a_map_is_kept_and_damaged_ones_are_refused(printer: PrinterMap, tmp_path: Path) -> None:
    path = tmp_path / "printer.json"
    write_printer(path, printer)
    assert read_printer(path) == printer
    good = json.loads(path.read_text())
    for change in ({"schema": 2}, {"degree": 7}, {"coefficients": [[0, 0, 1]]}, {"blur_px": -1}, {"colors": "many"}):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError, match="printer"):
            read_printer(path)
    with pytest.raises(InputError, match="is there and no printer's map"):
        write_printer(path, printer)
