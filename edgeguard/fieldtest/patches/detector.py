"""A detector that patches are made against, and what a patch wants of it (torch)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.evaluate.detectors.candidates import Candidates
from edgeguard.evaluate.detectors.deployed import on_input
from edgeguard.evaluate.detectors.goals import Aim
from edgeguard.evaluate.protocol import Goal
from edgeguard.fieldtest.patches.guarded import GuardedTwin
from edgeguard.fieldtest.patches.printing import View
from edgeguard.model.contract import Contract, Detection

_WON_CLEARLY = -1.5  # of what a goal lacks (squashed, -4..4): beyond it a view no longer counts
#: A clean object is found by a logit or two, which is less than a classifier's margin: with a weight of 1 the printing
#: terms win, and the patch becomes a flat one of printable colors.
GOAL_WEIGHT = 10.0


class DetectorAttempt:
    """The loss of a patch against a detector: what its goal still lacks, in each view.

    Args:
        detector: behind whatever the patch has to get through.
        contract: the model's.
        goal: what the patch wants of the object that it lies on.
        target: the class that mislabel and create aim at, as the model's labels count; None for any wrong one.
    """

    def __init__(self, detector: GuardedTwin, contract: Contract, goal: Goal, target: int | None) -> None:
        self.detector, self.contract, self.goal = detector, contract, goal
        self.first = int(contract.background)
        self.target = None if target is None else target - self.first
        self.threshold = (contract.detection or Detection()).score_threshold

    def __call__(self, frames: Tensor, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """See `optimize.Attempt`."""
        found = self.detector(frames)
        lacks = []
        for row, view in enumerate(views):
            one = Candidates(found.boxes[row : row + 1], found.logits[row : row + 1], found.background)
            lacks.append(self.aim(view, (frames.shape[3], frames.shape[2])).logits(one)[0, 0])
        lacking = torch.stack(lacks)
        return GOAL_WEIGHT * lacking.clamp_min(_WON_CLEARLY).mean(), lacking.detach() < 0

    def aim(self, view: View, size: tuple[int, int]) -> Aim:
        """Of one view, whose frame has that size (width, height)."""
        boxes = [] if view.object_box is None else [view.object_box]
        classes = np.array([view.label - self.first] * len(boxes), np.int64)
        return Aim(self.goal, self._on_input(boxes, size), classes, self.threshold, self.target)

    def _on_input(self, boxes: list[tuple[float, float, float, float]], size: tuple[int, int]) -> NDArray[np.float32]:
        if self.detector.twin.place == "frame":
            return on_input(boxes, size, self.contract)
        sides = np.array([*size, *size], np.float32)
        return np.asarray(np.array(boxes, np.float32).reshape(-1, 4) / sides, np.float32)
