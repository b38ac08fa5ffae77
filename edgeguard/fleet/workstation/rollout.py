"""How a rollout fares, and when it is halted: by a lower bound on the share of devices that took it back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: A rollout is halted when more than this share of the devices fail, with 95 % confidence.
MOST_FAILURES = 0.05


@dataclass(frozen=True)
class Progress:
    """What the devices say of one bundle.

    Attributes:
        title: NAME-VERSION.
        well, trial, failed: devices that run it, that try it, and that took it back.
    """

    title: str
    well: int = 0
    trial: int = 0
    failed: int = 0

    @property
    def failures_at_least(self) -> float:
        """Clopper-Pearson lower bound (95 %, one-sided) of the share that fails."""
        return clopper_pearson_lower(self.failed, self.failed + self.well)

    @property
    def must_halt(self) -> bool:
        """Whether too many fail."""
        return self.failures_at_least > MOST_FAILURES


def progress(title: str, devices: Iterable[Mapping[str, Any]]) -> Progress:
    """Count what devices say of a bundle.

    Args:
        title: NAME-VERSION.
        devices: the newest message of each.
    """
    well = trial = failed = 0
    for fields in devices:
        if fields.get("bundle") == title:
            trial += bool(fields.get("trial"))
            well += not fields.get("trial")
        elif str(fields.get("failed") or "").startswith(f"{title}: "):
            failed += 1
    return Progress(title, well, trial, failed)


def clopper_pearson_lower(failures: int, n: int, confidence: float = 0.95) -> float:
    """The share p at which `failures` or more of n happen with probability 1 - confidence (Clopper and Pearson 1934).

    Example:
        >>> round(clopper_pearson_lower(2, 2), 3), round(clopper_pearson_lower(1, 20), 4), clopper_pearson_lower(0, 9)
        (0.224, 0.0026, 0.0)
    """
    if failures == 0:
        return 0.0
    low, high = 0.0, failures / n
    for _ in range(60):
        middle = (low + high) / 2
        if _at_least(failures, n, middle) > 1 - confidence:
            high = middle
        else:
            low = middle
    return low


def _at_least(k: int, n: int, p: float) -> float:
    """Probability of k or more successes among n."""
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    choose = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k)]
    below = math.fsum(math.exp(c + i * math.log(p) + (n - i) * math.log1p(-p)) for i, c in enumerate(choose))
    return max(1.0 - below, 0.0)
