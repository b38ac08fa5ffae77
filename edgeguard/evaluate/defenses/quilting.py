"""Image quilting (Guo et al. 2018, section 4.4; Efros and Freeman 2001): the picture sewn from clean patches."""

from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeguard.evaluate.defenses.base import Image

Patches = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quilting:
    """Each patch is replaced by one of the `neighbors` nearest of a library of clean patches, chosen at random; the
    overlaps are cut where the two differ least.

    Attributes:
        library: uint8 clean images from which `count` patches are drawn; the paper takes a million from ImageNet.
        size, overlap: of patches, in pixels (paper: 5 and 2).
        neighbours: paper: 10.

    Limits: needs clean pictures of the same world; costs seconds an image; broken by BPDA (Athalye et al. 2018: 0 %).
    """

    library: tuple[Image, ...]
    _: KW_ONLY
    size: int = 5
    overlap: int = 2
    neighbors: int = 10
    count: int = 100_000
    name: str = "quilting"
    randomized: bool = True
    _patches: list[Patches] = field(default_factory=list, repr=False)

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        patches = self._drawn()
        rng = np.random.default_rng(seed)
        step, size = self.size - self.overlap, self.size
        height, width = image.shape[:2]
        rows, columns = -(-(height - size) // step) + 1, -(-(width - size) // step) + 1
        padded_height, padded_width = (rows - 1) * step + size, (columns - 1) * step + size
        source = np.pad(image, ((0, padded_height - height), (0, padded_width - width), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(source, (size, size), (0, 1))[::step, ::step]
        wanted = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1).astype(np.float32)
        chosen = _nearest(wanted, patches, self.neighbors, rng)
        out = np.zeros(source.shape, np.float32)
        for index, patch in enumerate(patches[chosen].reshape(-1, size, size, 3)):
            row, column = divmod(index, columns)
            self._sew(out[row * step : row * step + size, column * step : column * step + size], patch, row, column)
        return out[:height, :width].round().clip(0, 255).astype(np.uint8)

    def _sew(self, region: Patches, patch: Patches, row: int, column: int) -> None:
        """Put a patch over what is there: left and above of the cheapest cuts the old pixels stay."""
        keep = np.zeros(region.shape[:2], bool)
        error = np.square(region - patch).sum(-1)
        if column > 0:
            keep[:, : self.overlap] |= _left_of_cut(error[:, : self.overlap])
        if row > 0:
            keep[: self.overlap] |= _left_of_cut(error[: self.overlap].T).T
        region[~keep] = patch[~keep]

    def _drawn(self) -> Patches:
        if not self._patches:
            self._patches.append(_draw(self.library, self.size, self.count))
        return self._patches[0]


def _draw(images: tuple[Image, ...], size: int, count: int) -> Patches:
    rng = np.random.default_rng(0)
    each = -(-count // len(images))
    drawn = []
    for image in images:
        tops = rng.integers(0, image.shape[0] - size + 1, each)
        lefts = rng.integers(0, image.shape[1] - size + 1, each)
        windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), (0, 1))
        drawn.append(windows[tops, lefts].transpose(0, 2, 3, 1).reshape(each, -1))
    return np.concatenate(drawn)[:count].astype(np.float32)


def _nearest(wanted: Patches, patches: Patches, neighbors: int, rng: np.random.Generator) -> NDArray[np.int64]:
    squares = np.square(patches).sum(1)
    chosen = []
    for start in range(0, len(wanted), 512):
        distance = squares - 2 * wanted[start : start + 512] @ patches.T
        closest = np.argpartition(distance, neighbors - 1, axis=1)[:, :neighbors]
        chosen.append(closest[np.arange(len(closest)), rng.integers(0, neighbors, len(closest))])
    return np.concatenate(chosen)


def _left_of_cut(error: Patches) -> NDArray[np.bool_]:
    """True left of the cheapest path from the first row to the last."""
    height, width = error.shape
    cost = error.astype(np.float64).copy()
    for y in range(1, height):
        above = np.pad(cost[y - 1], 1, constant_values=np.inf)
        cost[y] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    left = np.zeros((height, width), bool)
    x = int(cost[-1].argmin())
    for y in range(height - 1, -1, -1):
        left[y, :x] = True
        if y > 0:
            low = max(x - 1, 0)
            x = low + int(cost[y - 1, low : x + 2].argmin())
    return left


@lru_cache(maxsize=2)
def quilting_from(library: tuple[bytes, ...]) -> Quilting:
    """Quilting with a library of encoded pictures, its patches drawn once for a process."""
    from edgeguard.dct.jpeg_decode import decode_whole

    return Quilting(tuple(decode_whole(data) for data in library))
