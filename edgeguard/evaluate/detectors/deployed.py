"""The deployed detector, to ask: what it reports of a frame, and what it leaves out, for attacks that only ask."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guard_layer import to_frames
from edgeguard.errors import InputError
from edgeguard.evaluate.detectors.candidates import Candidates
from edgeguard.evaluate.detectors.goals import Aim
from edgeguard.guard.passes import Pass1
from edgeguard.model import Model
from edgeguard.model.contract import Contract, Detection
from edgeguard.model.input_path import InputPath
from edgeguard.model.prediction import BoxScore
from edgeguard.patchguard import PatchGuard
from edgeguard.preprocess.geometry import place

Frame = NDArray[np.uint8]
_LEAST = 1e-4
_NOWHERE = -12.0


class DeployedDetector:
    """A detector's file behind a defence, asked frame by frame through the device's own path.

    Args:
        model: the file.
        profile: the guard in front of it; None for none.
        patch_guard: filters the model's input; None for none.
    """

    def __init__(
        self, model: Model, *, profile: GuardProfile | None = None, patch_guard: PatchGuard | None = None
    ) -> None:
        self.model = model
        detection = replace(model.contract.detection or Detection(), score_threshold=_LEAST)
        self._all = model.with_contract(replace(model.contract, detection=detection))
        self.path = InputPath(model.contract, profile=profile, patch_guard=patch_guard)

    @property
    def threshold(self) -> float:
        """Below it nothing is reported."""
        return (self.model.contract.detection or Detection()).score_threshold

    def boxes(self, frame: Frame, pass1: Pass1 = "none", *, also_below: bool = False) -> tuple[BoxScore, ...]:
        """What it reports of a frame HxWx3 that arrived, best first.

        Args:
            frame: as it arrived; the defence's (second) pass comes after.
            pass1: who did pass 1.
            also_below: report too what is below the threshold.

        Raises:
            NoAnswer: its outputs are no boxes.
        """
        outputs = self.model.run(self.path(self.path.arrive(frame, pass1)).tensor)
        reader = self._all if also_below else self.model
        return reader.read(outputs, frame.shape[1], frame.shape[0]).boxes or ()


class AskingVictim(torch.nn.Module):
    """The deployed file with an attacker's aim: levels (n, 3, h, w) to two logits, by asking alone.

    Args:
        deployed: the file behind the defence.
        aim: see there.
        classes: how many the file has; before them stands `first`, 1 with a background.
        pass1: who did pass 1.
    """

    def __init__(
        self, deployed: DeployedDetector, aim: Aim, *, classes: int, first: int = 0, pass1: Pass1 = "none"
    ) -> None:
        super().__init__()
        self.deployed, self.aim, self.classes, self.first = deployed, aim, classes, first
        self.pass1: Pass1 = pass1

    def forward(self, levels: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self.aim.logits(self._candidates(frame)) for frame in to_frames(levels)])

    def _candidates(self, frame: Frame) -> Candidates:
        boxes = self.deployed.boxes(frame, self.pass1, also_below=True)
        corners = on_input(
            [(b.x1, b.y1, b.x2, b.y2) for b in boxes], (frame.shape[1], frame.shape[0]), self.deployed.model.contract
        )
        logits = np.full((len(boxes), self.classes), _NOWHERE, np.float32)
        for row, box in zip(logits, boxes, strict=True):
            if not 0 <= box.index - self.first < self.classes:
                raise InputError(f"the model says class {box.index}, which it has no label for")
            share = min(max(box.score, _LEAST), 1 - _LEAST)
            row[box.index - self.first] = np.log(share / (1 - share))
        return Candidates(torch.from_numpy(corners)[None], torch.from_numpy(logits)[None])


def on_input(
    corners: Sequence[tuple[float, float, float, float]], size: tuple[int, int], contract: Contract
) -> NDArray[np.float32]:
    """Corners in the pixels of a frame of that size (width, height) as parts of the model's input, (n, 4)."""
    placement = place(*size, contract.input, contract.preprocess)
    source, target = placement.source, placement.target
    scale = np.array([target.width / source.width, target.height / source.height] * 2)
    moved = (np.asarray(corners, np.float64).reshape(-1, 4) - np.array([source.left, source.top] * 2)) * scale
    moved += np.array([target.left, target.top] * 2)
    return np.asarray(moved / np.array([contract.input.width, contract.input.height] * 2), np.float32)


def own_numbers(model: Model) -> range:
    """The numbers of the file's classes as its labels count, its background not among them."""
    first, labels = int(model.contract.background), model.contract.labels
    if labels:
        return range(first, len(labels))
    return range(first, first + max((1, *(shape[-1] for shape in model.output_shapes if shape))))
