"""PatchCleanser's double masking (Xiang, Mahloujifar and Mittal, USENIX Security 2022): a certified patch defence."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
#: uint8 (h, w, 3) to a label.
Predict = Callable[[Image], int]


@dataclass(frozen=True)
class MaskSet:
    """Square masks of which one covers any square patch wherever it is (the paper's R-covering, section 3.2).

    Attributes:
        size: side of the (square) image, pixels.
        patch: largest side of a patch, pixels.
        per_axis: masks along each axis; more masks are smaller and cost more.
    """

    size: int
    patch: int
    per_axis: int = 6

    @property
    def stride(self) -> int:
        """Of the masks, equation 2."""
        return max(ceil((self.size - self.patch + 1) / self.per_axis), 1)

    @property
    def side(self) -> int:
        """Of a mask: the patch and all offsets within a stride."""
        return min(self.patch + self.stride - 1, self.size)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Upper left corners (row, column)."""
        last = self.size - self.side
        along = list(dict.fromkeys(min(k * self.stride, last) for k in range(self.per_axis)))
        return tuple((row, column) for row in along for column in along)


@dataclass(frozen=True)
class Verdict:
    """A label, whether one-mask predictions agreed (no sign of a patch), and what it cost."""

    label: int
    unanimous: bool
    queries: int


class DoubleMasking:
    """Mask the input everywhere once; where predictions disagree, a second mask decides (the paper's algorithm 1).

    Limits: one patch, no larger than the masks were made for, anywhere; certified only for images that
    `is_certified`; each image costs `len(masks.places)` inferences, and as many again for each dissenter.
    """

    def __init__(self, predict: Predict, masks: MaskSet, fill: int = 127) -> None:
        self.predict, self.masks, self.fill = predict, masks, fill

    def __call__(self, image: Image) -> Verdict:
        """The label of an image of the masks' size."""
        places = self.masks.places
        labels = [self.predict(self._masked(image, place)) for place in places]
        queries = len(places)
        majority = max(sorted(set(labels)), key=labels.count)
        for place, label in zip(places, labels, strict=True):
            if label == majority:
                continue
            agrees = True
            for second in places:
                queries += 1
                if self.predict(self._masked(image, place, second)) != label:
                    agrees = False
                    break
            if agrees:
                return Verdict(label, False, queries)
        return Verdict(majority, labels.count(majority) == len(labels), queries)

    def is_certified(self, image: Image, label: int) -> bool:
        """True where every pair of masks leaves the right label (theorem 1): then no patch of that size can change it.

        `image` is the clean image.
        """
        places = self.masks.places
        pairs = ((a, b) for index, a in enumerate(places) for b in places[index:])
        return all(self.predict(self._masked(image, a, b)) == label for a, b in pairs)

    def _masked(self, image: Image, *places: tuple[int, int]) -> Image:
        out = image.copy()
        for row, column in places:
            out[row : row + self.masks.side, column : column + self.masks.side] = self.fill
        return out
