"""A printer and camera measured from a photograph of a printed chart; the truth is a halftone printer's."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeguard.errors import CheckFailed, InputError
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.calibrate import calibrate
from edgeguard.fieldtest.sheets.chart import CELLS, chart_colors, white_cells
from edgeguard.fieldtest.sheets.printer_map import PrinterMap, read_printer, write_printer
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand
from edgeguard.fieldtest.virtual.printer import HalftonePrinter, known_difference

SIZE = (1600, 1200)


def _photo(truth: HalftonePrinter, card: str = "chart", *, blur: float = 0.7, exposure: float = 1.0) -> bytes:
    painter = SheetPainter(*made_sheet(card, "clean"), printer=truth)
    stand = Stand(330.0, 4.0, 40.0, 2.0, seed=5, light="warm", noise=1.5, blur=blur, exposure=exposure)
    frame = painter.frame(stand, *SIZE)
    return cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _map(photo: bytes, card: str = "chart") -> PrinterMap:
    sheet, _ = made_sheet(card, "clean")
    return calibrate(photo, sheet.number, sheet.layout, is_chart=card == "chart")


def test_the_chart_holds_its_colours_once_and_whites_spread_over_it() -> None:
    colors = chart_colors().reshape(-1, 3)
    assert len(colors) == CELLS**2 and (colors[white_cells()] == 255).all()
    assert len(np.unique(colors, axis=0)) == 125 + 11


@pytest.mark.parametrize("inks", ["office", "faded"])
def test_the_error_of_colours_is_at_least_halved(inks: str) -> None:
    truth = HalftonePrinter(inks)
    printer = _map(_photo(truth))
    assert printer.degree == 3 and printer.colors == 168
    sent = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    before, after = known_difference(sent, truth(sent), printer(sent))
    assert after <= before / 2
    assert printer.error_after <= printer.error_before / 2


@pytest.mark.parametrize("blur", [0.6, 1.4])
def test_the_blur_is_the_cameras(blur: float) -> None:
    printer = _map(_photo(HalftonePrinter(), blur=blur))
    assert printer.blur_px == pytest.approx(blur, rel=0.2)
    assert printer.blur_mm > 0


def test_any_sheet_gives_a_coarser_map() -> None:
    truth = HalftonePrinter("faded")
    printer = _map(_photo(truth, "stop"), "stop")
    sent = np.random.default_rng(0).integers(0, 256, (300, 3), np.uint8)
    before, after = known_difference(sent, truth(sent), printer(sent))
    assert printer.degree == 2 and printer.colors == 24 and after < before / 2


def test_photographs_that_measure_nothing() -> None:
    truth = HalftonePrinter()
    with pytest.raises(InputError, match="over-exposed"):
        _map(_photo(truth, exposure=1.6))
    with pytest.raises(InputError, match="too dark"):
        _map(_photo(truth, exposure=0.25))
    with pytest.raises(CheckFailed, match="not sheet"):
        _map(_photo(truth, "stop"))
    with pytest.raises(InputError, match="no tags"):
        _map(cv2.imencode(".jpg", np.full((300, 400, 3), 99, np.uint8))[1].tobytes())


def test_a_map_is_kept_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    printer = _map(_photo(HalftonePrinter()))
    path = tmp_path / "printer.json"
    write_printer(path, printer)
    assert read_printer(path) == printer
    good = json.loads(path.read_text())
    for change in ({"schema": 2}, {"degree": 7}, {"coefficients": [[0, 0, 1]]}, {"blur_px": -1}, {"colors": "many"}):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError, match="printer"):
            read_printer(path)
