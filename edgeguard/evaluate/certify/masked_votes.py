"""Masks on the map of votes (PatchCURE's way, USENIX Security 2024): one inference, then double masking of its votes.

The network in front sees small regions, so a patch touches one rectangle of the map. Masking rectangles of the map
instead of the picture costs sums of integers instead of inferences. PatchCleanser's rule and theorem are the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.patch_certificate import PatchCertifier


@dataclass(frozen=True, eq=False)
class MaskedVotes:
    """Labels by double masking of a map, and whether a clean map proves one.

    Attributes:
        certifier: of the file.
        side: of the square that masks cover, pixels of the input.
    """

    certifier: PatchCertifier
    side: int

    def __call__(self, votes: NDArray[np.integer]) -> int:
        """The label of a map (rows, columns, classes) of stored integers, which may be an attacked one."""
        left = self._left(votes)
        labels = left.argmax(2)
        once = np.diagonal(labels)
        majority = int(np.bincount(once).argmax())
        for mask in np.flatnonzero(once != majority):
            if (labels[mask] == once[mask]).all():
                return int(once[mask])
        return majority

    def is_certified(self, votes: NDArray[np.integer], label: int) -> bool:
        """True where each pair of masks leaves this label in the clean map: then no such patch changes it."""
        return bool((self._left(votes).argmax(2) == label).all())

    @property
    def masks(self) -> int:
        """How many rectangles cover every patch's votes."""
        return len(self._rectangles())

    def _rectangles(self) -> NDArray[np.int64]:
        """(masks, 4): first row, row behind the last, first column, column behind the last."""
        (top, bottom), (left, right) = self.certifier.touched(self.side)
        rows, columns = np.stack([top, bottom], 1), np.stack([left, right], 1)
        return np.concatenate([np.repeat(rows, len(columns), 0), np.tile(columns, (len(rows), 1))], 1)

    def _left(self, votes: NDArray[np.integer]) -> NDArray[np.int64]:
        """(masks, masks, classes): sums of votes that both masks of a pair leave; a masked vote counts as the lowest.

        Every mask leaves the same number of votes of each class out, so that labels can be compared.
        """
        levels = votes.astype(np.int64) - self.certifier.votes.low
        table = np.zeros((levels.shape[0] + 1, levels.shape[1] + 1, levels.shape[2]), np.int64)
        table[1:, 1:] = levels.cumsum(0).cumsum(1)
        boxes = self._rectangles()
        one = _sums(table, boxes)
        first, second = boxes[:, None], boxes[None]
        both = np.stack(
            [
                np.maximum(first[..., 0], second[..., 0]), np.minimum(first[..., 1], second[..., 1]),
                np.maximum(first[..., 2], second[..., 2]), np.minimum(first[..., 3], second[..., 3]),
            ],
            -1,
        )  # fmt: skip
        both[..., 1] = np.maximum(both[..., 1], both[..., 0])
        both[..., 3] = np.maximum(both[..., 3], both[..., 2])
        total = table[-1, -1]
        return np.asarray(total - one[:, None] - one[None] + _sums(table, both))


def _sums(table: NDArray[np.int64], boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over rectangles (..., 4) from a table of sums over corners: (..., classes)."""
    top, bottom, left, right = (boxes[..., side] for side in range(4))
    return np.asarray(table[bottom, right] - table[bottom, left] - table[top, right] + table[top, left])
