"""The proof against a patch, on the integers of a deployed file: how large a square cannot change this label.

The graph gives a map of votes: at each place and for each class an 8-bit integer. The label is the class with the
largest sum. A square of pixels changes only votes of places whose receptive field it touches; each of those can at
worst become the lowest integer for the label and the highest for another class. If the label still leads after that,
for every other class and wherever the square is, no content of the square changes the label. Nothing is estimated:
sums of integers are compared. See docs/certified-patches.md.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.receptive_field import Axis, VoteMap, read_vote_map

_Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]
_Cut = tuple[slice, slice] | _Ranges
_NO_RIVAL = 1 << 30  # the label's lead over itself


@dataclass(frozen=True, eq=False)
class PatchCertifier:
    """Labels and certificates from maps of votes, (rows, columns, classes) of stored integers.

    Attributes:
        votes: what the graph says of its map.
        width, height: of the model's input, pixels.

    Example:
        >>> certifier = PatchCertifier.of(ModelFile(data), 1, 32, 32)  # doctest: +SKIP
        >>> certifier.largest(votes, certifier.label(votes))           # doctest: +SKIP
        6
    """

    votes: VoteMap
    width: int
    height: int
    _ranges: dict[int, tuple[_Ranges, _Ranges]] = field(default_factory=dict)
    _cuts: dict[int, tuple[_Cut, _Cut]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelFile, output: int, width: int, height: int) -> "PatchCertifier":
        """Of a file that claims a map of votes at one of its outputs.

        Raises:
            InputError: the graph has none from which anything could be proven; the message says why.
        """
        votes = read_vote_map(model, output)
        certifier = cls(votes, width, height)
        (top, bottom), (left, right) = certifier.touched(1)
        share = int((bottom - top).max() * (right - left).max()) / _places(votes)
        if share >= 0.5:
            raise InputError(f"a single pixel touches {100 * share:.0f} % of the votes: no label can be proven")
        return certifier

    def sums(self, votes: NDArray[np.integer]) -> NDArray[np.int64]:
        """The sum of each class's votes, (classes,): the largest is the label, the first of equal ones."""
        return np.asarray(votes.reshape(-1, votes.shape[-1]).sum(0, dtype=np.int64))

    def label(self, votes: NDArray[np.integer]) -> int:
        """The class with the most votes, the first of equal ones."""
        return int(self.sums(votes).argmax())

    def margin(self, votes: NDArray[np.integer], label: int, side: int) -> int:
        """How far the label leads, at worst, after any square of `side` pixels anywhere: proven where it is above 0.

        A tie counts for the class with the lower index, as it does for the label.
        """
        return self._margin(*self._leads(votes, label), side)

    def largest(self, votes: NDArray[np.integer], label: int) -> int:
        """The side of the largest square, in pixels of the model's input, that provably cannot change the label.

        0 where a single pixel might. Larger squares contain smaller ones, so that halving finds it.
        """
        total, table = self._leads(votes, label)
        proven, refused = 0, min(self.width, self.height) + 1
        while refused - proven > 1:
            side = (proven + refused) // 2
            if self._margin(total, table, side) > 0:
                proven = side
            else:
                refused = side
        return proven

    def _leads(self, votes: NDArray[np.integer], label: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Leads over each class, ties counted; and sums of what could be lost, over all corners of the map."""
        levels = (votes - self.votes.least).astype(np.uint8)  # 8 bits, whichever
        corners = levels.shape[0] + 1, levels.shape[1] + 1, levels.shape[2]
        counted = np.asarray(cv2.integral(levels, sdepth=cv2.CV_32S), np.int32).reshape(corners)
        table = counted[:, :, label, None] - counted
        total = table[-1, -1].copy()
        total[label] = _NO_RIVAL
        total[label + 1 :] += 1  # a tie is won by the lower class
        rows, columns = np.arange(table.shape[0], dtype=np.int32), np.arange(table.shape[1], dtype=np.int32)
        table += (rows[:, None] * columns * (self.votes.high - self.votes.low))[:, :, None]
        return total, table

    def _margin(self, total: NDArray[np.int32], table: NDArray[np.int32], side: int) -> int:
        if side not in self._cuts:
            self._cuts[side] = _cut(*self.touched(side)[0]), _cut(*self.touched(side)[1])
        (top, bottom), (left, right) = self._cuts[side]
        below, above = table[bottom], table[top]
        lost = below[:, right] - below[:, left]
        lost -= above[:, right]
        lost += above[:, left]
        return int((total - lost.reshape(-1, lost.shape[2]).max(0)).min())

    def place_margins(self, votes: NDArray[np.integer], label: int, side: int) -> NDArray[np.int64]:
        """What `margin` is of, for each upper left corner of the square: (height - side + 1, width - side + 1)."""
        total, table = self._leads(votes, label)
        rows, columns = (
            _runs(axis, size, side)
            for axis, size in ((self.votes.fields.rows, self.height), (self.votes.fields.columns, self.width))
        )
        below, above = table[rows[1]], table[rows[0]]
        lost = below[:, columns[1]] - below[:, columns[0]] - above[:, columns[1]] + above[:, columns[0]]
        return np.asarray((total - lost).min(2), np.int64)

    def touched(self, side: int) -> tuple[_Ranges, _Ranges]:
        """For every place of a square of this side, the rows and columns of the map that it touches, ends excluded."""
        if side not in self._ranges:
            fields = self.votes.fields
            self._ranges[side] = (touched(fields.rows, self.height, side), touched(fields.columns, self.width, side))
        return self._ranges[side]


def touched(axis: Axis, size: int, side: int) -> _Ranges:
    """Places of an axis that `side` pixels in a row can touch, as pairs of a first place and one behind the last.

    Args:
        axis: what each place depends on.
        size: pixels of the input along this axis.
        side: pixels in a row, 1 to size.

    Returns:
        One pair for each run of pixels, those left out that another one contains.

    Example:
        >>> pixels = np.arange(8)
        >>> touched(Axis(pixels[::2], pixels[1::2]), 8, 3)[0].tolist()
        [0, 1, 2]
    """
    pairs = np.unique(np.stack(_runs(axis, size, side), 1), axis=0)
    inside = (pairs[:, None, 0] >= pairs[None, :, 0]) & (pairs[:, None, 1] <= pairs[None, :, 1])
    np.fill_diagonal(inside, False)
    kept = pairs[~inside.any(1)]
    return kept[:, 0], kept[:, 1]


def _cut(first: NDArray[np.int64], behind: NDArray[np.int64]) -> _Cut:
    """The same indices as slices, which copy nothing, where each pair is the one before moved on by one place."""
    steady = (np.diff(first) == 1).all() and (np.diff(behind) == 1).all()
    if not steady:
        return first, behind
    return slice(int(first[0]), int(first[-1]) + 1), slice(int(behind[0]), int(behind[-1]) + 1)


def _runs(axis: Axis, size: int, side: int) -> _Ranges:
    """The same for every run of pixels, in order."""
    side = min(side, size)
    start = np.arange(size - side + 1)[:, None]
    meets = (axis.first <= start + side - 1) & (axis.last >= start)
    count = meets.shape[1]
    first = np.where(meets.any(1), meets.argmax(1), count)
    behind = np.where(meets.any(1), count - meets[:, ::-1].argmax(1), count)
    return first, behind


def _places(votes: VoteMap) -> int:
    return len(votes.fields.rows.first) * len(votes.fields.columns.first)
