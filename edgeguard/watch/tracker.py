"""Identities of a detector's objects from frame to frame: ByteTrack.

Zhang, Sun, Jiang, Yu, Weng, Yuan, Luo, Liu, Wang: ByteTrack: Multi-Object Tracking by Associating Every Detection Box,
ECCV 2022. Boxes with high scores are matched first, those with low scores then prolong what is left of the tracks. The
Kalman filter is that of SORT and DeepSORT: middle, aspect ratio and height with constant velocities. Its matrices are
diagonal in these four, so that it is four filters of two numbers, and all tracks are computed at once.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeguard.watch.assignment import cheapest_pairs

Floats = NDArray[np.float64]

_FIRST, _SECOND, _UNCONFIRMED = 0.8, 0.5, 0.7  # the largest cost, 1 - IoU, of a pair
_NEW = 0.1  # above the high score: what begins a track
_LOST_FRAMES = 30
_SAME = 0.15  # a lost track and another one that cost less are one
_POSITION, _VELOCITY = 1 / 20, 1 / 160  # standard deviations, of a box's height
_ASPECT, _ASPECT_VELOCITY, _ASPECT_SEEN = 1e-2, 1e-5, 1e-1


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (n, 4) and (m, 4), as x1, y1, x2, y2: (n, m).

    Example:
        >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 2], [1, 0, 3, 2]])).round(2).tolist()
        [[1.0, 0.33]]
    """
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    np.maximum(sides, 0, out=sides)
    common = sides[..., 0] * sides[..., 1]
    sides_a, sides_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    areas = (sides_a[:, 0] * sides_a[:, 1])[:, None] + sides_b[:, 0] * sides_b[:, 1]
    return np.asarray(common / np.maximum(areas - common, 1e-9), np.float64)


@dataclass(eq=False)
class _Tracks:
    """All tracks, a row each.

    Attributes:
        place, speed: middle x, middle y, width / height, height; and what they change by in a frame.
        cov: their covariances: place with place, place with speed, speed with speed.
        ids: 0 for one that was seen once only.
        began, seen: frames.
    """

    place: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    speed: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    cov: Floats = field(default_factory=lambda: np.zeros((0, 4, 3)))
    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    began: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    lost: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def keep(self, which: NDArray[np.bool_]) -> None:
        if which.all():
            return
        for name, values in list(vars(self).items()):
            setattr(self, name, values[which])

    def add(self, other: "_Tracks") -> None:
        for name, values in list(vars(self).items()):
            setattr(self, name, np.concatenate([values, getattr(other, name)]))

    def corners(self) -> Floats:
        made = np.empty((len(self.place), 4))
        half = self.place[:, 3:] / 2
        np.multiply(self.place[:, 2:3], half, out=made[:, 2:3])
        made[:, 3:] = half
        np.subtract(self.place[:, :2], made[:, 2:], out=made[:, :2])
        made[:, 2:] += self.place[:, :2]
        return made

    def predict(self) -> None:
        """One frame on."""
        self.speed[self.lost, 3] = 0.0
        step = _variances(self.place[:, 3], 1.0, 1.0, _ASPECT)
        self.place = self.place + self.speed
        together, crossed, speeds = (self.cov[:, :, k] for k in range(3))  # views: in this order
        together += 2 * crossed + speeds + step[..., 0]
        crossed += speeds
        speeds += step[..., 1]

    def correct(self, rows: NDArray[np.int64], seen: Floats) -> None:
        """Take measurements (n, 4) of some tracks."""
        noise = _variances(self.place[rows, 3], 1.0, 1.0, _ASPECT_SEEN)[..., 0]
        cov = self.cov[rows]
        together, crossed, speeds = (cov[:, :, k] for k in range(3))  # views: in this order
        gain, gain_of_speed = together / (together + noise), crossed / (together + noise)
        off = seen - self.place[rows]
        self.place[rows] += gain * off
        self.speed[rows] += gain_of_speed * off
        speeds -= gain_of_speed * crossed
        together *= 1 - gain
        crossed *= 1 - gain
        self.cov[rows] = cov


class ByteTracker:
    """Call `update` with the boxes of each frame, in order.

    Args:
        high_score: boxes from it on are matched first; from 0.1 above it on one may begin a track.

    Example:
        >>> tracker = ByteTracker()
        >>> box, score, kind = np.array([[10.0, 10, 30, 50]]), np.array([0.9]), np.array([0])
        >>> [tracker.update(box + 2 * n, score, kind).tolist() for n in range(3)]
        [[1], [1], [1]]
    """

    def __init__(self, high_score: float = 0.5) -> None:
        self._high_score, self._frame, self._last_id = high_score, 0, 0
        self._tracks = _Tracks()

    def update(self, boxes: Floats, scores: Floats, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The identity of each box, from 1; 0 for a box without one.

        Args:
            boxes: (n, 4): x1, y1, x2, y2.
            scores: (n,) from 0 to 1.
            classes: (n,); only boxes of one class are matched.
        """
        self._frame += 1
        tracks, found = self._tracks, np.full(len(boxes), -1)
        usable = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        high, low = usable[scores[usable] > self._high_score], usable[scores[usable] <= self._high_score]
        low = low[scores[low] > 0.1]
        tracks.predict()
        costs = 1 - overlaps(tracks.corners(), boxes) * (tracks.classes[:, None] == classes[None, :])
        confirmed = tracks.ids > 0
        left = self._match(costs, np.flatnonzero(confirmed), high, _FIRST, found)
        self._match(costs, left[~tracks.lost[left]], low, _SECOND, found)
        high = high[found[high] < 0]
        self._match(costs, np.flatnonzero(~confirmed), high, _UNCONFIRMED, found)
        self._take(boxes, found)
        keep = (tracks.seen == self._frame) | (confirmed & (self._frame - tracks.seen <= _LOST_FRAMES))
        tracks.lost = tracks.seen < self._frame
        rows = np.where(keep, np.cumsum(keep) - 1, -1)  # a box's track may be the same one in another row
        found = np.where(found >= 0, rows[found] if len(rows) else -1, -1)
        tracks.keep(keep)
        self._begin(boxes, classes, high[(found[high] < 0) & (scores[high] >= self._high_score + _NEW)], found)
        ids = np.where(found >= 0, tracks.ids[found] if len(tracks.ids) else 0, 0)
        self._drop_doubles()
        return np.asarray(ids, np.int64)

    def _match(
        self, costs: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], limit: float,
        found: NDArray[np.int64],
    ) -> NDArray[np.int64]:  # fmt: skip
        """Note the track of each matched box; returns the tracks that are left."""
        if not len(rows) or not len(columns):
            return rows
        taken = np.zeros(len(rows), bool)
        for i, j in cheapest_pairs(costs[rows][:, columns], limit):
            found[columns[j]], taken[i] = rows[i], True
        return rows[~taken]

    def _take(self, boxes: Floats, found: NDArray[np.int64]) -> None:
        """The matched boxes correct their tracks; one that is seen again has an identity from now on."""
        tracks, matched = self._tracks, np.flatnonzero(found >= 0)
        rows = found[matched]
        tracks.correct(rows, _measured(boxes[matched]))
        tracks.seen[rows] = self._frame
        for row in rows[tracks.ids[rows] == 0]:
            self._last_id += 1
            tracks.ids[row] = self._last_id

    def _begin(
        self, boxes: Floats, classes: NDArray[np.int64], which: NDArray[np.int64], found: NDArray[np.int64]
    ) -> None:
        if not len(which):
            return
        count, place = len(which), _measured(boxes[which])
        found[which] = len(self._tracks.ids) + np.arange(count)
        variances = _variances(place[:, 3], 2.0, 10.0, _ASPECT)
        cov = np.stack([variances[..., 0], np.zeros((count, 4)), variances[..., 1]], axis=2)
        ids = np.zeros(count, np.int64)
        if self._frame == 1:  # nothing could have been seen before
            ids = self._last_id + 1 + np.arange(count)
            self._last_id += count
        frame = np.full(count, self._frame)
        self._tracks.add(
            _Tracks(place, np.zeros((count, 4)), cov, ids, classes[which], frame, frame.copy(), np.zeros(count, bool))
        )

    def _drop_doubles(self) -> None:
        """Of a lost track and one that is seen at the same place the younger one goes."""
        tracks = self._tracks
        lost, there = np.flatnonzero(tracks.lost), np.flatnonzero(~tracks.lost & (tracks.ids > 0))
        if not len(lost) or not len(there):
            return
        corners, gone = tracks.corners(), np.zeros(len(tracks.ids), bool)
        same = overlaps(corners[lost], corners[there]) > 1 - _SAME
        same &= tracks.classes[lost][:, None] == tracks.classes[there][None, :]
        ages = tracks.seen - tracks.began
        for i, j in np.argwhere(same):
            gone[lost[i] if ages[there[j]] > ages[lost[i]] else there[j]] = True
        tracks.keep(~gone)


def _variances(heights: Floats, places: float, speeds: float, aspect: float) -> Floats:
    """Of the four numbers and of their speeds, for boxes so high: (n, 4, 2)."""
    made = np.empty((len(heights), 4, 2))
    made[..., 0] = (places * _POSITION * heights[:, None]) ** 2
    made[..., 1] = (speeds * _VELOCITY * heights[:, None]) ** 2
    made[:, 2] = aspect**2, _ASPECT_VELOCITY**2
    return made


def _measured(boxes: Floats) -> Floats:
    made, sides = np.empty((len(boxes), 4)), boxes[:, 2:] - boxes[:, :2]
    made[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    made[:, 2] = sides[:, 0] / sides[:, 1]
    made[:, 3] = sides[:, 1]
    return made
