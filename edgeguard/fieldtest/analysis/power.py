"""How likely a planned field test shows an effect: simulated sessions, judged by the very test that the report uses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.fieldtest.analysis.paired import half_width, permutation_p

WANTED_CHANCE = 0.8
_SESSIONS = 1000
_SEARCH_SESSIONS = 300
_MOST_PASSES = 2000
_LEVEL = 0.05
#: Of the mean difference, in its own spread: outside, the sign-flip test says what the normal curve says.
_SURELY_NOT, _SURELY = 1.85, 2.10
_FEW = 20


@dataclass(frozen=True)
class Outlook:
    """What passes are assumed to be like.

    Attributes:
        effect: how much oftener the patch succeeds than its control, share of frames, 0..1.
        control: how often the control does.
        agreement: correlation of the frames of one pass, 0..1: at 1 a pass is one frame.
        frames: stored frames of each pass.

    Example:
        >>> Outlook(effect=0.3).patch
        0.35
    """

    effect: float
    control: float = 0.05
    agreement: float = 0.6
    frames: int = 5

    @property
    def patch(self) -> float:
        """How often the patch succeeds; at most always."""
        return min(self.control + self.effect, 1.0)


def chance_to_see(outlook: Outlook, passes: int, *, sessions: int = _SESSIONS, seed: int = 0) -> float:
    """The share of simulated sessions in which the effect is shown, 0..1.

    Each pass of each arm has its own rate of success (a Beta distribution with the mean and the agreement of the
    outlook), and its frames succeed at that rate. The placements of patch and control are compared in pairs, as in a
    report: an effect is shown where the 95 % interval is clear of zero and the sign-flip test says p <= .05.

    Args:
        outlook: what is assumed.
        passes: of each arm, all with eligible frames.
        sessions: how many are simulated; 1000 know the chance to 2.5 points (95 %).
        seed: of everything.
    """
    rng = np.random.default_rng([seed, passes])
    patch = _shares(rng, outlook.patch, outlook, (sessions, passes))
    control = _shares(rng, outlook.control, outlook, (sessions, passes))
    return float(np.mean([is_shown(one, number) for number, one in enumerate(patch - control)]))


def passes_to_see(outlook: Outlook, chance: float = WANTED_CHANCE) -> int | None:
    """The smallest number of passes of each arm with that chance to see the effect; None beyond 2000."""
    enough, low = 4, 4
    while chance_to_see(outlook, enough, sessions=_SEARCH_SESSIONS) < chance:
        if enough >= _MOST_PASSES:
            return None
        low, enough = enough, min(enough * 2, _MOST_PASSES)
    while enough - low > max(enough // 20, 1):
        middle = (low + enough) // 2
        if chance_to_see(outlook, middle, sessions=_SEARCH_SESSIONS) < chance:
            low = middle
        else:
            enough = middle
    return enough


def is_shown(differences: NDArray[np.float64], seed: int = 0) -> bool:
    """`Difference.shown` of these differences; the permutations are drawn only where they decide.

    Args:
        differences: one for each pass, -1..1.
        seed: of the permutations.
    """
    if abs(float(differences.mean())) <= half_width(differences):
        return False
    moved = differences[differences != 0]
    if len(moved) > _FEW:
        deviation = abs(float(moved.sum())) / float(np.sqrt((moved**2).sum()))
        if not _SURELY_NOT <= deviation <= _SURELY:
            return deviation > _SURELY
    return permutation_p(differences, seed) <= _LEVEL


def _shares(
    rng: np.random.Generator, rate: float, outlook: Outlook, shape: tuple[int, int]
) -> NDArray[np.float64]:  # fmt: skip
    """Of frames that succeed, in each pass of each session."""
    if rate in (0.0, 1.0):
        return np.full(shape, rate)
    if outlook.agreement >= 1:
        return np.asarray(rng.random(shape) < rate, np.float64)
    rates: NDArray[np.float64] = np.full(shape, rate)
    if outlook.agreement > 0:
        both = 1 / outlook.agreement - 1  # of the two parameters of the Beta distribution
        rates = rng.beta(rate * both, (1 - rate) * both, shape)
    return np.asarray(rng.binomial(outlook.frames, rates), np.float64) / outlook.frames


def outlook_lines(outlook: Outlook, passes: int) -> list[str]:
    """For the terminal: the chance with the planned passes, and how many would do.

    Args:
        outlook: what is assumed.
        passes: planned, of each arm.
    """
    points = 100 * (outlook.patch - outlook.control)
    chance = chance_to_see(outlook, passes)
    lines = [
        f"with {passes} passes of each arm you will see an effect of {points:.0f} points with {100 * chance:.0f} % "
        f"chance (simulated: the control succeeds on {100 * outlook.control:g} % of frames, frames of a pass agree "
        f"{outlook.agreement:g})"
    ]
    if chance < WANTED_CHANCE:
        wanted = passes_to_see(outlook)
        lines.append(
            f"for {100 * WANTED_CHANCE:.0f} % chance take {wanted} passes of each arm"
            if wanted is not None
            else f"more than {_MOST_PASSES} passes of each arm would be needed for {100 * WANTED_CHANCE:.0f} % chance"
        )
    return lines
