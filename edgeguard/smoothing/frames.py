"""Smoothed answers for frames as they come, on a budget of time."""

import time
from dataclasses import dataclass

import numpy as np

from edgeguard.guard.passes import Received
from edgeguard.model.input_path import InputPath
from edgeguard.model.interpreter import Model
from edgeguard.model.prediction import label_of
from edgeguard.preprocess.region import Region
from edgeguard.smoothing.bounds import check_numbers
from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.deployed import DeployedFunction
from edgeguard.smoothing.integer_noise import IntegerNoise

ALPHA = 0.001
_FEWEST, _MOST = 10, 100  # draws that choose the class: a tenth of those that count, within these
_CHOOSING_SHARE = 0.2  # of a budget of time


@dataclass(frozen=True)
class SmoothedFrame:
    """What noisy copies of a frame said.

    Attributes:
        label, index: of the class that most of them said; None where nothing is certified.
        radius, radius_levels: L2 over all pixels of the frame, 0..1 and levels: every frame nearer than this has the
            same answer; None where nothing is certified.
        count, draws: copies that said the class, of those that were counted.
        ms: what it cost, wall time.
    """

    label: str | None
    index: int | None
    radius: float | None
    radius_levels: float | None
    count: int
    draws: int
    ms: float


class FrameSmoother:
    """Certifies frames of a run; the noise is drawn from the system's entropy, so that nobody can know it before.

    Args:
        model: a classifier of pixels.
        region: what it sees of a frame.
        sigma: of the noise, pixels 0..1.
        draws: copies of a frame that are counted, at most.
        budget_ms: that a frame may cost; fewer copies are drawn then. None: no bound.

    Raises:
        InputError: the model cannot be smoothed, or the numbers certify nothing.
    """

    def __init__(
        self, model: Model, region: Region | None, *, sigma: float, draws: int, budget_ms: float | None = None
    ) -> None:
        check_numbers(sigma, draws, ALPHA, ("--smooth-sigma", "--smooth", "alpha"))
        self._function = DeployedFunction(
            model, InputPath(model.contract, patch_guard=model.patch_guard, region=region), "frame"
        )
        self._labels = model.contract.labels
        self._plan = SmoothingPlan(sigma, draws, min(max(draws // 10, _FEWEST), _MOST), ALPHA)
        self._noise, self._rng, self._budget_ms = IntegerNoise(sigma), np.random.default_rng(), budget_ms

    def __call__(self, received: Received) -> SmoothedFrame:
        """Answer for one frame after pass 1.

        Raises:
            JpegError: it does not decode.
        """
        began = time.perf_counter()

        def within(share: float) -> bool:
            return self._budget_ms is None or (time.perf_counter() - began) * 1e3 < share * self._budget_ms

        found = certify(
            self._function.of(received),
            self._function.pixels(received),
            self._noise,
            self._plan,
            self._rng,
            goes_on=lambda: within(1.0),
            chooses_on=lambda: within(_CHOOSING_SHARE),
        )
        index = found.prediction
        return SmoothedFrame(
            label=None if index is None else label_of(index, self._labels),
            index=index,
            radius=None if found.radius is None else round(found.radius, 6),
            radius_levels=None if found.radius_levels is None else round(found.radius_levels, 3),
            count=found.count,
            draws=found.draws,
            ms=round((time.perf_counter() - began) * 1e3, 3),
        )
