"""What an attacker of a detector wants, as two logits: so every attack on classifiers is one on detectors."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.differentiable.guard_layer import GuardLayer
from edgeguard.evaluate.detectors.candidates import Candidates
from edgeguard.evaluate.engine.targeted import squashed
from edgeguard.evaluate.protocol import Goal
from edgeguard.evaluate.twin import Twin

#: Anchors whose box overlaps an object's so much belong to it: below the IoU of a match, since attacks move boxes too.
_BELONGS = 0.4
#: A box that overlaps no object more than this is one that is not there.
_APART = 0.3
_NOTHING = -20.0  # the logit of a class that no anchor has


@dataclass(frozen=True, eq=False)
class Aim:
    """What is attacked in one picture.

    Attributes:
        goal: vanish: no object is found any more; mislabel: each is found as something else; create: something is
            found that is not there.
        boxes: float32 (g, 4), the objects' corners in parts of the model's input.
        classes: int64 (g,), their classes as `Candidates` counts them.
        threshold: of the scores, 0..1: what is below it is not reported.
        target: the class that shall be said, for mislabel and create; None for any wrong one.
    """

    goal: Goal
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    threshold: float
    target: int | None = None

    def logits(self, found: Candidates) -> Tensor:
        """(1, 2) for the candidates of one picture: above zero at index 0 as long as the attacker has not got his way.

        The first is what the goal still lacks, in logits of the scores, squashed; its derivative is that of a smooth
        maximum, which looks at all anchors that count and not at the largest alone.
        """
        boxes, logits = found.boxes[0].detach(), found.logits[0]
        if self.goal == "create":
            lacks, smooth = self._create(boxes, logits)
        elif self.goal == "vanish":
            lacks, smooth = self._vanish(boxes, logits)
        else:
            lacks, smooth = self._mislabel(boxes, logits)
        lacking = squashed(smooth + (lacks - smooth).detach())
        return torch.stack([lacking, torch.zeros_like(lacking)])[None]

    @property
    def _least(self) -> float:
        share = min(max(self.threshold, 1e-4), 1 - 1e-4)
        return float(np.log(share / (1 - share)))

    def _vanish(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The largest score of an object's own class among its anchors, above the threshold."""
        own = [logits[belongs, k] for belongs, k in self._anchors(boxes)]
        return _largest(own, logits) - self._least, _smooth(own, logits) - self._least

    def _mislabel(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Of each object its own class, or the threshold, above the wanted one; the worst object counts."""
        lacks, smooth = [], []
        for belongs, k in self._anchors(boxes):
            mine, others = [logits[belongs, k]], [self._wanted(logits[belongs], k)]
            wrong = _largest(others, logits)
            lacks.append(torch.maximum(_largest(mine, logits), torch.tensor(self._least)) - wrong)
            smooth.append(_smooth(mine, logits).clamp_min(self._least - 2) - _smooth(others, logits))
        if not lacks:
            return logits.sum() * 0 - 1, logits.sum() * 0
        return torch.stack(lacks).amax(), torch.stack(smooth).mean()

    def _create(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The threshold above the largest score of an anchor that lies on no object."""
        overlap = overlaps(boxes, torch.from_numpy(self.boxes))
        free = overlap.amax(1) < _APART if overlap.shape[1] else torch.ones(len(boxes), dtype=torch.bool)
        some = [logits[free] if self.target is None else logits[free, self.target]]
        return self._least - _largest(some, logits), self._least - _smooth(some, logits)

    def _anchors(self, boxes: Tensor) -> list[tuple[Tensor, int]]:
        """Of each object the anchors (by number) that belong to it, and its class."""
        overlap = overlaps(boxes, torch.from_numpy(self.boxes))
        aimed = [(g, int(k)) for g, k in enumerate(self.classes) if self.goal != "mislabel" or k != self.target]
        return [((overlap[:, g] > _BELONGS).nonzero()[:, 0], k) for g, k in aimed]

    def _wanted(self, logits: Tensor, own: int) -> Tensor:
        if self.target is not None:
            return logits[:, self.target]
        return logits[:, torch.arange(logits.shape[1]) != own]


class GoalVictim(torch.nn.Module):
    """A detector's twin with an attacker's aim in one picture: levels (1, 3, h, w) to two logits.

    What attacks need that look into the guard (`GuardedVictim`) is here too.

    Args:
        twin: behind the defence, at the frame.
        aim: see there.
        which: pass of the guard that the attacked levels meet: `second` where pass 1 was before the attacker.
    """

    def __init__(self, twin: Twin, aim: Aim, which: Pass = "only") -> None:
        super().__init__()
        self.twin, self.aim = twin, aim
        self.which: Pass = which
        profile = twin.contract.guard.profile
        place = twin.contract.guard.place
        guarded = profile is not None and place in ("frame", "input") and twin.guard is not None
        self.guard = GuardLayer(profile, twin.backward, which) if guarded and profile is not None else None

    def forward(self, levels: Tensor) -> Tensor:
        """See the class; several pictures are the same one with other changes."""
        return torch.cat([self._one(each) for each in levels.split(1)])

    @property
    def profile(self) -> GuardProfile | None:
        """See `GuardedVictim`: of a guard on the frame."""
        return self.guard.profile if self.guard is not None and self.twin.contract.guard.place == "frame" else None

    @property
    def room(self) -> int:
        """See `GuardedVictim`: pass 2 gets levels that have the profile's room."""
        return 0 if self.profile is None or self.which == "second" else self.profile.room

    def through_guard(self, levels: Tensor) -> Tensor:
        """See `GuardedVictim`."""
        return levels if self.guard is None else self.guard(levels.detach())

    def behind_guard(self, levels: Tensor) -> Tensor:
        """See `GuardedVictim`."""
        resized = levels if self.twin.resize is None else self.twin.resize(levels)
        return torch.cat([self.aim.logits(_of(self.twin.network(each))) for each in resized.split(1)])

    def _one(self, levels: Tensor) -> Tensor:
        place = self.twin.contract.guard.place
        x = self.guard(levels) if self.guard is not None and place == "frame" else levels
        x = x if self.twin.resize is None else self.twin.resize(x)
        x = self.guard(x) if self.guard is not None and place == "input" else x
        return self.aim.logits(_of(self.twin.network(x)))


def _of(found: object) -> Candidates:
    assert isinstance(found, Candidates)
    return found


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (n, 4) and (m, 4) with corners x1, y1, x2, y2: (n, m)."""
    if not len(b):
        return torch.zeros(len(a), 0)
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clamp_min(0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).clamp_min(0).prod(1) for each in (a, b)]
    return both / (areas[0][:, None] + areas[1][None] - both).clamp_min(1e-12)


def _largest(parts: list[Tensor], logits: Tensor) -> Tensor:
    """Of all values, `_NOTHING` where there are none."""
    values = torch.cat([part.reshape(-1) for part in parts]) if parts else logits.new_zeros(0)
    return values.amax() if len(values) else logits.sum() * 0 + _NOTHING


def _smooth(parts: list[Tensor], logits: Tensor) -> Tensor:
    """The smooth maximum: log of the sum of exponentials."""
    values = torch.cat([part.reshape(-1) for part in parts]) if parts else logits.new_zeros(0)
    return torch.logsumexp(values, 0) if len(values) else logits.sum() * 0 + _NOTHING
