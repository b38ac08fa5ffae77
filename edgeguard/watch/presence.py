"""Who is in a zone, since when, and how many came and went."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_SURE = 2  # results in a row: a box that trembles on the edge neither comes nor goes
_GONE = 30  # results without a track: it left


@dataclass(eq=False)
class _One:
    label: str
    since: float
    inside: bool = False
    other: int = 0  # results in a row on the other side
    crossed: float = 0.0  # when it was first seen there
    unseen: int = 0


@dataclass(eq=False)
class Presence:
    """The tracks of one zone.

    Attributes:
        came, went: tracks by label. One that vanishes inside went.

    Example:
        >>> zone = Presence()
        >>> for at in range(4): zone.update(at, {1: "cat"}, {1})
        >>> zone.to_dict(4.0)
        {'in': {'cat': 1}, 'out': {}, 'stay_s': {1: 4.0}}
    """

    came: Counter[str] = field(default_factory=Counter)
    went: Counter[str] = field(default_factory=Counter)
    _all: dict[int, _One] = field(default_factory=dict)

    def update(self, at: float, tracks: dict[int, str], inside: set[int]) -> None:
        """Take a result: the label of each track, and which of them are inside."""
        for track, label in tracks.items():
            one = self._all.setdefault(track, _One(label, at))
            one.unseen = 0
            if (track in inside) == one.inside:
                one.other = 0
                continue
            if one.other == 0:
                one.crossed = at
            one.other += 1
            if one.other >= _SURE:
                one.inside, one.since, one.other = not one.inside, one.crossed, 0
                (self.came if one.inside else self.went)[one.label] += 1
        for track in [track for track in self._all if track not in tracks]:
            one = self._all[track]
            one.unseen += 1
            if one.unseen > _GONE:
                self.went[one.label] += one.inside
                del self._all[track]

    def stay_s(self, track: int, at: float) -> float:
        """For how long a track has been inside."""
        one = self._all.get(track)
        return at - one.since if one is not None and one.inside else 0.0

    def to_dict(self, at: float) -> dict[str, Any]:
        """Who came and went, and for how long each one is there."""
        stays = {track: round(at - one.since, 2) for track, one in self._all.items() if one.inside}
        return {"in": dict(self.came), "out": {k: n for k, n in self.went.items() if n}, "stay_s": stays}
