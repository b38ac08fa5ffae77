"""What a printer and a camera make of a color and of an edge, as measured: `printer.json`.

The map is a polynomial of the three levels (as in color characterization of cameras: Finlayson, Mackiewicz and
Hurlbert 2015 compare such). It gives the levels that the camera sees where white paper is 240.6 of 255, as in the
virtual field, so light and exposure stay apart from it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import checked_numbers, foreign_json, parsing, read_bounded

SCHEMA = 1
PAPER_LEVEL = 0.92 * 255 + 6
#: Colours that a map of each degree wants at least: three for each of its terms.
_WANTED = {1: 12, 2: 24, 3: 60}
_RIDGE = 1e-3
_LARGEST = 1 << 20


@dataclass(frozen=True)
class PrinterMap:
    """A printer seen by a camera.

    Attributes:
        degree: of the polynomial, 1..3.
        coefficients: (terms, 3), of levels / 255; see `terms`.
        blur_px: standard deviation of lens and print together, pixels of a picture whose longer side has 640.
        blur_mm: the same on the print.
        colors: how many were measured.
        error_before, error_after: mean CIE76 difference between what was sent and what came (exposure and white
            balance fitted), and between what the map says and what came (each colour left out of its own fit).
        photo_sha256: of the photograph.
    """

    degree: int
    coefficients: tuple[tuple[float, float, float], ...]
    blur_px: float
    blur_mm: float
    colors: int
    error_before: float
    error_after: float
    photo_sha256: str
    schema: int = SCHEMA

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (..., 3) as sent to the printer, to float32 levels as the camera sees the print in full light."""
        weights = np.array(self.coefficients, np.float64)
        return np.asarray(np.clip(terms(rgb.astype(np.float64) / 255, self.degree) @ weights * 255, 0, 255), np.float32)

    @property
    def sha256(self) -> str:
        """Of its values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def exponents(degree: int) -> list[tuple[int, ...]]:
    """Of each term: which of the channels are multiplied. `()` is 1, `(0, 2)` is red times blue.

    Example:
        >>> exponents(1)
        [(), (0,), (1,), (2,)]
    """
    return [chosen for d in range(degree + 1) for chosen in combinations_with_replacement(range(3), d)]


def terms(share: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """(..., 3) of 0..1 to (..., terms)."""
    columns = [np.prod(share[..., list(chosen)], axis=-1) if chosen else np.ones(share.shape[:-1])
               for chosen in exponents(degree)]  # fmt: skip
    return np.stack(columns, -1)


def fitted_degree(count: int) -> int:
    """The highest degree that so many colours carry."""
    return max(degree for degree, wanted in _WANTED.items() if count >= wanted)


def fitted_coefficients(sent: NDArray[np.float64], seen: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """(terms, 3) by least squares with a little ridge that pulls towards the identity.

    Args:
        sent, seen: (n, 3), 0..1.
    """
    design = terms(sent, degree)
    start = np.zeros((design.shape[1], 3))
    start[1:4] = np.eye(3)
    normal = design.T @ design + _RIDGE * np.eye(design.shape[1])
    return np.asarray(start + np.linalg.solve(normal, design.T @ (seen - design @ start)))


def left_out(sent: NDArray[np.float64], seen: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """(n, 3): what the fit to all others says of each color; closed form by the hat matrix."""
    design = terms(sent, degree)
    fitted = design @ fitted_coefficients(sent, seen, degree)
    inverse = np.linalg.inv(design.T @ design + _RIDGE * np.eye(design.shape[1]))
    hat = np.einsum("ij,jk,ik->i", design, inverse, design)[:, None]
    return np.asarray(seen - (seen - fitted) / np.maximum(1 - hat, 0.05))


def write_printer(path: Path, printer: PrinterMap) -> None:
    """Write `printer.json`.

    Raises:
        InputError: a file is there that is no printer's map, for example the manifest of the chart.
        DeviceError: it cannot be written.
    """
    if path.exists():
        try:
            read_printer(path)
        except InputError as error:
            raise InputError(f"{path} is there and no printer's map: give --output another name") from error
    write_bytes(path, (json.dumps(asdict(printer), indent=1) + "\n").encode())


def read_printer(path: Path) -> PrinterMap:
    """Read `printer.json`.

    Raises:
        InputError: not there, damaged, or of another version.
    """
    raw = read_bounded(path, _LARGEST, "the printer's map")
    with parsing(f"{path}: the printer's map"):
        data: Any = foreign_json(raw)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a printer's map of version {SCHEMA}: edgeguard patch calibrate writes one")
    from msgspec import convert

    with parsing(f"{path}: the printer's map"):
        checked_numbers(data)
        convert(data, PrinterMap)  # for the types alone: values stay as they are written
        rows = tuple((float(r), float(g), float(b)) for r, g, b in data["coefficients"])
        found = PrinterMap(**{**data, "coefficients": rows})
        if found.degree not in _WANTED or len(rows) != len(exponents(found.degree)) or not 0 <= found.blur_px <= 50:
            raise ValueError("a degree, a blur or the number of coefficients is out of range")
    return found
