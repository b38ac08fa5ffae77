"""Color differences: sRGB levels to linear light, to CIE L*a*b*."""

import numpy as np
from numpy.typing import NDArray


def linear_light(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB levels 0..255 to linear light 0..1 (IEC 61966-2-1)."""
    x = levels / 255
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0) + 0.055) / 1.055) ** 2.4)


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of linear sRGB, (n, 3).

    Example:
        >>> lab(np.ones((1, 3))).round(0).tolist()
        [[100.0, 0.0, 0.0]]
    """
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def balanced_linear(
    levels: NDArray[np.float64], like: NDArray[np.float64], grays: NDArray[np.bool_]
) -> NDArray[np.float64]:  # fmt: skip
    """Levels in linear light, with gain and offset of each channel fitted to others on the greys.

    Args:
        levels, like: (n, 3), 0..255.
        grays: (n,), which of them are grey.
    """
    own, wanted = linear_light(levels), linear_light(like)
    out = np.empty_like(own)
    for channel in range(3):
        slope, offset = np.polyfit(own[grays, channel], wanted[grays, channel], 1)
        out[:, channel] = np.clip(slope * own[:, channel] + offset, 0, 1)
    return out
