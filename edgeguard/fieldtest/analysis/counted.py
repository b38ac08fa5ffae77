"""Counts with their interval."""

from dataclasses import dataclass

from edgeguard.statistics import wilson


@dataclass(frozen=True)
class Counted:
    """Hits of n; its interval is descriptive, because frames of one pass are not independent."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        """0..1; 0 where n is 0."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 %."""
        return wilson(self.hits, self.n) if self.n else (0.0, 1.0)
