"""CERTIFY of Cohen et al. 2019: some noisy copies choose the class, others count it, and the count proves a radius."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.smoothing.bounds import lower_bound, radius
from edgeguard.smoothing.integer_noise import IntegerNoise

#: The smoothed function: uint8 pixels (h, w, 3) to a class index.
Classify = Callable[[NDArray[np.uint8]], int]


@dataclass(frozen=True)
class SmoothingPlan:
    """How an answer is made.

    Attributes:
        sigma: standard deviation of the noise, pixels 0..1.
        draws: that are counted.
        choosing: draws that choose the class, independent of those.
        alpha: how often a certificate may be wrong, of one image.
    """

    sigma: float
    draws: int
    choosing: int = 100
    alpha: float = 0.001


@dataclass(frozen=True)
class SmoothedAnswer:
    """What noisy copies of one image said.

    Attributes:
        chosen: the class of most of the choosing draws.
        count: draws that said `chosen`, of `draws`.
        draws: that were counted; fewer than planned where time ran out.
        votes: how often each class was said by them, by class index.
        radius: L2, pixels 0..1: every image nearer than this has the answer `chosen`, but for the plan's alpha; None
            where nothing is certified (the answer is to abstain).
    """

    chosen: int
    count: int
    draws: int
    votes: dict[int, int]
    radius: float | None

    @property
    def prediction(self) -> int | None:
        """The smoothed classifier's answer; None: it abstains."""
        return None if self.radius is None else self.chosen

    @property
    def radius_levels(self) -> float | None:
        """The radius in levels of 255."""
        return None if self.radius is None else 255 * self.radius


def certify(
    classify: Classify,
    image: NDArray[np.uint8],
    noise: IntegerNoise,
    plan: SmoothingPlan,
    rng: np.random.Generator,
    *,
    goes_on: Callable[[], bool] = lambda: True,
    chooses_on: Callable[[], bool] = lambda: True,
) -> SmoothedAnswer:
    """The smoothed classifier's answer for one image, and its radius.

    Args:
        classify: one that always gives the same class for the same pixels.
        image: uint8 (h, w, 3).
        noise: of the plan's sigma.
        plan: how many draws.
        rng: of the noise.
        goes_on: asked before each counted draw; False ends them. It must not look at the answers (a clock does not):
            else the bound does not hold.
        chooses_on: the same for the choosing draws, of which the first is always made.
    """

    def votes_of(draws: int, wanted: Callable[[], bool], least: int) -> dict[int, int]:
        votes: dict[int, int] = {}
        for number in range(draws):
            if number >= least and not wanted():
                break
            answer = classify(noise.on(image, rng))
            votes[answer] = votes.get(answer, 0) + 1
        return dict(sorted(votes.items()))

    chosen = _most(votes_of(plan.choosing, chooses_on, 1))
    votes = votes_of(plan.draws, goes_on, 0)
    count, made = votes.get(chosen, 0), sum(votes.values())
    proven = radius(lower_bound(count, made, plan.alpha), plan.sigma) if made else None
    return SmoothedAnswer(chosen, count, made, votes, proven)


def _most(votes: dict[int, int]) -> int:
    """The first of the classes with the most votes."""
    return max(votes, key=lambda index: (votes[index], -index))
