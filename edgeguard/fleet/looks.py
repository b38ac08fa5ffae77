"""When the agent looks at the repository: at its pace, when there is news, and never without a pause."""

import math

#: Seconds between the end of a look and the next one, whoever says that there is news.
LEAST_PAUSE_S = 15.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 15.0, 300.0  # after looks that failed


class Looks:
    """The time of the next look. Pure: times come from outside, on one clock.

    Args:
        every_s: between two looks without news.
        first: the time of the first one.

    Attributes:
        at: the time of the next one.

    Example:
        >>> looks = Looks(900.0, 5.0)
        >>> looks.ended(6.0, 0, 1.0)
        >>> looks.news(7.0)
        >>> looks.at
        21.0
    """

    def __init__(self, every_s: float, first: float) -> None:
        self.at = first
        self._every_s, self._earliest = every_s, -math.inf

    def news(self, now: float) -> None:
        """Somebody says that there is news: look now, or when the pause is over."""
        self.at = min(self.at, max(now, self._earliest))

    def ended(self, now: float, failures: int, jitter: float) -> None:
        """A look ended.

        Args:
            now: the time.
            failures: looks in a row that failed.
            jitter: a factor near 1, so that a fleet does not come at once.
        """
        wait_s = min(self._every_s, _FIRST_DELAY_S * 2 ** min(failures, 10), _LONGEST_DELAY_S)
        self.at = now + (wait_s if failures else self._every_s) * jitter
        self._earliest = now + LEAST_PAUSE_S
