"""The chart by which a printer and a camera are measured: a card of 12 x 12 colours, printed as `--card chart`."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.layout import CHART_RGB, Layout, Rect

CELLS = 12
_PIXELS = 48  # of a cell
_CUBE = (0, 64, 128, 191, 255)
_WHITES = 8  # spread over the chart: they show how evenly it is lit


def chart_colors() -> NDArray[np.uint8]:
    """(12, 12, 3): a cube of 5 x 5 x 5 colours, 11 greys between its own, and 8 whites, well mixed."""
    cube = np.array([(r, g, b) for r in _CUBE for g in _CUBE for b in _CUBE], np.uint8)
    grays = np.array([(v, v, v) for v in (20, 40, 85, 106, 149, 170, 212, 234, 245, 32, 96)], np.uint8)
    rest = np.concatenate([cube, grays])
    rest = rest[np.random.default_rng(12).permutation(len(rest))]
    cells = np.full((CELLS * CELLS, 3), 255, np.uint8)
    cells[~np.isin(np.arange(len(cells)), white_cells())] = rest
    return cells.reshape(CELLS, CELLS, 3)


def white_cells() -> NDArray[np.int64]:
    """Which cells (row by row) are white in order to show the light: corners, and four within."""
    places = ((0, 0), (0, 11), (11, 0), (11, 11), (3, 4), (4, 8), (8, 3), (8, 8))
    assert len(places) == _WHITES
    return np.array([row * CELLS + column for row, column in places])


def chart_picture() -> NDArray[np.uint8]:
    """The card, square."""
    return np.ascontiguousarray(chart_colors().repeat(_PIXELS, 0).repeat(_PIXELS, 1))


def chart_cells(layout: Layout) -> tuple[tuple[Rect, tuple[int, int, int]], ...]:
    """Where each colour is on a sheet of the chart, and what it is; the 24 of the strip below come last."""
    place, colors = layout.object, chart_colors()
    side = place.width / CELLS
    cells = [
        (Rect(place.left + column * side, place.top + row * side, side, side), tuple(map(int, colors[row, column])))
        for row in range(CELLS)
        for column in range(CELLS)
    ]
    return tuple((rect, (rgb[0], rgb[1], rgb[2])) for rect, rgb in (*cells, *strip_cells(layout)))


def strip_cells(layout: Layout) -> list[tuple[Rect, tuple[int, int, int]]]:
    """Of the 24 colours that every sheet carries."""
    return list(zip(layout.chart, CHART_RGB, strict=True))
