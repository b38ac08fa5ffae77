"""The time of one evaluation: what it will take, what fits into the minutes that were given, and what is left."""

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from edgeguard.datasets.images import LabeledImage
from edgeguard.evaluate.engine.evaluation import Evaluation
from edgeguard.evaluate.engine.executors import Executor
from edgeguard.evaluate.forecast import USEFUL_IMAGES, Forecast, duration, forecast, measured
from edgeguard.evaluate.protocol import Protocol
from edgeguard.evaluate.reports.masking import SUMMARIES
from edgeguard.evaluate.reports.results import Cell
from edgeguard.statistics import wilson

_SMALL_BATCH = 2  # of a limited time: a unit of work is not shared between processes
_TRUSTED = 0.1  # share of the forecast that counts as done at its own pace
_PATIENCE = 1.5  # times the minutes, after which no further row begins


@dataclass(eq=False)
class Pace:
    """See the module.

    Attributes:
        plan: the protocol; after `fitting` the one that fits.
        ahead: the forecast.
        attacked, clean: images.
        began: monotonic seconds at the start of everything.
        said: the forecast in words.
    """

    plan: Protocol
    ahead: Forecast
    attacked: int
    clean: int
    began: float
    said: str
    _done: int = 0
    _first: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, plan: Protocol, evaluation: Evaluation, executor: Executor, began: float) -> "Pace":
        """Measure this machine on one image.

        Args:
            plan: what is attacked how.
            evaluation: of it.
            executor: that will run it.
            began: monotonic seconds at the start.
        """
        gradients = any(not attack.gradient_free for attack in plan.attacks)
        path = evaluation.samples[0].path
        costs = measured(evaluation.target, evaluation.defenses, path, gradients=gradients)
        workers = int(getattr(executor, "workers", 1))
        plan = plan if plan.minutes is None else replace(plan, batch=min(plan.batch, _SMALL_BATCH))
        ahead = forecast(plan, evaluation.defenses, costs, workers)
        clean = len(evaluation.samples)
        attacked = min(plan.images, clean)
        slowest = 1e3 * max(costs.gradient_s.values())
        gradient = f"; a query with its gradient takes {slowest:.0f} ms" if gradients else ""
        counted = [(attacked, "image"), (len(plan.attacks), "attack"), (len(evaluation.defenses), "defense")]
        work = ", ".join(_counted(number, what) for number, what in counted)
        most, usual = duration(ahead.seconds(attacked, clean)), duration(ahead.usual(attacked, clean))
        time_ = f"about {usual}, at most {most}" if plan.budgets == "smallest" else f"at most about {most}"
        said = f"forecast: {time_} on {_counted(workers, 'core')} ({work}{gradient}); --minutes attacks fewer images"
        return cls(plan, ahead, attacked, clean, began, said)

    def fitting(self, images: list[LabeledImage]) -> tuple[Protocol, list[LabeledImage]]:
        """The protocol and the images that fit into its minutes; `said` tells what was left out.

        Raises:
            InputError: not even one image fits.
        """
        assert self.plan.minutes is not None
        spent = time.monotonic() - self.began
        minutes = self.plan.minutes
        attacked, clean = self.ahead.fitting(60 * minutes - spent, self.attacked, self.clean, minutes=minutes)
        order = np.random.default_rng(self.plan.seed).permutation(len(images))[:clean]
        fewer = [] if attacked == self.attacked else [f"{attacked} of {self.attacked} images are attacked"]
        if clean < self.clean:
            fewer.append(f"clean accuracy on {clean} of {self.clean}")
        what = f"{', '.join(fewer)}, drawn by the seed, the same for every row" if fewer else "everything fits"
        self.said = f"{self.plan.minutes:g} minutes: {what}"
        useful = min(USEFUL_IMAGES, self.attacked)
        if attacked < useful:
            wanted = math.ceil((self.ahead.seconds(useful, clean) + spent) / 60)
            low, high = wilson(attacked // 2, attacked)
            self.said += (
                f"; a figure of {attacked} is known within {100 * (high - low):.0f} points: for {useful} images give "
                f"--minutes {wanted}, or a protocol of fewer attacks"
            )
        self.attacked, self.clean, self.plan = attacked, clean, replace(self.plan, images=attacked)
        return self.plan, [images[index] for index in sorted(order)]

    def left(self, cell: Cell) -> float:
        """Seconds that are left after a cell, by what the ones before it took."""
        parts = self.ahead.parts
        title = f"{cell.attack}, {cell.defence}"
        found = next((i for i in range(self._done, len(parts)) if parts[i].title == title), None)
        if found is not None and cell.attack not in SUMMARIES:
            self._done = found + 1
        seconds = [self.ahead.of(part, self.attacked, self.clean) for part in parts]
        done, ahead = sum(seconds[: self._done]), sum(seconds[self._done :])
        trusted = _TRUSTED * (done + ahead)  # the first rows are short: their pace says little of what comes
        return ahead * (time.monotonic() - self._first + trusted) / (done + trusted) if done else ahead

    def late(self, cell: Cell) -> str | None:
        """Which rows are not reached in the time that was given, in words; None while there is time."""
        missing = [part.title for part in self.ahead.parts[self._done :]]
        if self.plan.minutes is None or not missing:
            return None
        if time.monotonic() - self.began < _PATIENCE * 60 * self.plan.minutes:
            return None
        named = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        return f"the time is over: rows that were not reached: {named}; run again with more --minutes to get them"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
