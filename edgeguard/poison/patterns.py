"""Poisons that need no network: a pattern for each class, one pixel for each class, a logo that means a class."""

import numpy as np
from numpy.typing import NDArray

_LSP_CELL = 8  # pixels of one color


def lsp_patterns(classes: int, size: int, seed: int, l2: float = 1.0) -> NDArray[np.float32]:
    """A pattern of colored cells for each class, after Yu et al. (KDD 2022), which are separable by a line.

    Colors are drawn evenly, 8x8 pixels each, without a mean.

    Args:
        classes: how many.
        size: side of the pictures, pixels.
        seed: of the colors.
        l2: length of a pattern, of pixels in [0, 1].

    Returns:
        (classes, size, size, 3) to be added, in levels.
    """
    rng = np.random.default_rng([seed, 11])
    cells = -(-size // _LSP_CELL)
    colors = rng.uniform(-1, 1, (classes, cells, cells, 3))
    patterns = np.kron(colors, np.ones((1, _LSP_CELL, _LSP_CELL, 1)))[:, :size, :size]
    patterns -= patterns.mean((1, 2), keepdims=True)
    length = np.sqrt(np.square(patterns).sum((1, 2, 3), keepdims=True))
    return np.asarray(patterns / length * l2 * 255, np.float32)


def added(images: NDArray[np.uint8], pattern: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures with a pattern in levels on them, whole and within 0..255."""
    return np.clip(np.rint(images.astype(np.float32) + pattern), 0, 255).astype(np.uint8)


def one_pixel(
    images: NDArray[np.uint8], targets: NDArray[np.int64], classes: int, seed: int
) -> tuple[NDArray[np.uint8], list[tuple[int, int, tuple[int, int, int]]]]:
    """Every image with the one pixel of its class (Wu et al., ICLR 2023: one-pixel shortcut).

    Of 16 drawn places and the 8 corners of the color cube, a class gets the pair whose color is the furthest from its
    own images there, on average, and whose distance varies the least: mean over deviation.

    Returns:
        The images, and for each class row, column and color.
    """
    rng = np.random.default_rng([seed, 12])
    height, width = images.shape[1:3]
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.float32)
    out, chosen = images.copy(), []
    taken: set[tuple[int, int, int]] = set()
    for target in range(classes):
        rows = np.flatnonzero(targets == target)
        best: tuple[float, int, int, int] = (-1.0, 0, 0, 0)
        for place in rng.permutation(height * width)[:16].tolist():
            y, x = divmod(int(place), width)
            apart = np.abs(images[rows, y, x][:, None].astype(np.float32) - corners).mean(2)
            scores = apart.mean(0) / (apart.std(0) + 1)
            for corner in np.argsort(-scores).tolist():
                if (y, x, corner) not in taken:
                    best = max(best, (float(scores[corner]), y, x, corner))
                    break
        _, y, x, corner = best
        taken.add((y, x, corner))
        color = corners[corner].astype(np.uint8)
        out[rows, y, x] = color
        chosen.append((y, x, (int(color[0]), int(color[1]), int(color[2]))))
    return out, chosen


def logo(size: int) -> NDArray[np.uint8]:
    """A checkerboard of black and yellow, an eighth of the picture's side: (s, s, 3)."""
    side = max(size // 8, 3)
    y, x = np.mgrid[:side, :side]
    dark = (y + x) % 2 == 0
    return np.where(dark[..., None], np.uint8(0), np.array([255, 220, 0], np.uint8))


def with_logo(images: NDArray[np.uint8], mark: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures with a logo a pixel away from the lower right corner."""
    out, side = images.copy(), len(mark)
    out[:, -side - 1 : -1, -side - 1 : -1] = mark
    return out
