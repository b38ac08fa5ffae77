"""A printer whose colors are known: halftone dots of three inks (Neugebauer 1937, with Yule and Nielsen's exponent).

It stands for a real one where a map of colors is tried: it is no polynomial, and nothing of it is told to the map.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.sheets.color import linear_light
from edgeguard.fieldtest.sheets.printer_map import PAPER_LEVEL
from edgeguard.fieldtest.sheets.sheet import Picture

#: Linear sRGB of paper, cyan, magenta, yellow, their overprints blue, green, red, and all three.
_INKS = {
    "office": (
        (1.00, 1.00, 1.00), (0.06, 0.34, 0.62), (0.56, 0.06, 0.24), (0.92, 0.78, 0.10),
        (0.05, 0.05, 0.22), (0.05, 0.30, 0.11), (0.52, 0.07, 0.04), (0.045, 0.04, 0.04),
    ),
    "faded": (
        (1.00, 0.99, 0.96), (0.22, 0.48, 0.66), (0.66, 0.22, 0.38), (0.93, 0.82, 0.34),
        (0.18, 0.18, 0.32), (0.22, 0.42, 0.25), (0.60, 0.24, 0.17), (0.16, 0.15, 0.14),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class HalftonePrinter:
    """What a camera sees of a halftone print, where white paper is `PAPER_LEVEL`.

    Attributes:
        inks: `office` or `faded`.
        dot_gain: how much a dot of half coverage grows beyond what the driver takes back.
        exponent: Yule and Nielsen's n: light that spreads in the paper.
    """

    inks: str = "office"
    dot_gain: float = 0.06
    exponent: float = 2.0

    def __call__(self, rgb: Picture) -> NDArray[np.float32]:
        """uint8 (..., 3) to float32 levels; see `raster.PrintedColors`."""
        coverage = 1 - rgb.astype(np.float64) / 255
        coverage = coverage + 4 * self.dot_gain * coverage * (1 - coverage)
        c, m, y = coverage[..., 0], coverage[..., 1], coverage[..., 2]
        shares = np.stack(
            [(1 - c) * (1 - m) * (1 - y), c * (1 - m) * (1 - y), (1 - c) * m * (1 - y), (1 - c) * (1 - m) * y,
             c * m * (1 - y), c * (1 - m) * y, (1 - c) * m * y, c * m * y], -1,
        )  # fmt: skip
        linear = (shares @ np.array(_INKS[self.inks]) ** (1 / self.exponent)) ** self.exponent
        return np.asarray(_levels(linear) * PAPER_LEVEL / 255, np.float32)


def _levels(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `linear_light`."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255


def known_difference(sent: Picture, came: NDArray[np.float32], said: NDArray[np.float32]) -> tuple[float, float]:
    """Mean CIE76 between what came and what was sent (on the same paper white), and what a map said of it."""
    from edgeguard.fieldtest.sheets.color import lab

    truth = lab(linear_light(came.reshape(-1, 3).astype(np.float64)))
    plain = lab(linear_light(sent.reshape(-1, 3).astype(np.float64) * PAPER_LEVEL / 255))
    mapped = lab(linear_light(said.reshape(-1, 3).astype(np.float64)))
    return float(np.linalg.norm(plain - truth, axis=1).mean()), float(np.linalg.norm(mapped - truth, axis=1).mean())
