"""A share of one core that serving may take, so that strangers never slow the work that a page is about."""

import threading
import time

_USED_UP = 0.1


class CpuBudget:
    """Processor time that comes back at a steady rate.

    Args:
        share: of one core, 0..1.
        burst_s: seconds of processor time that may be used at once.

    Example:
        >>> budget = CpuBudget(0.1, 0.2)
        >>> budget.spend(0.01)
        >>> budget.wait()  # at once: less than the burst was used
    """

    def __init__(self, share: float, burst_s: float) -> None:
        self._share, self._burst_s = share, burst_s
        self._left, self._at = burst_s, time.monotonic()
        self._lock = threading.Lock()

    def spend(self, seconds: float) -> None:
        """Processor time that was used."""
        with self._lock:
            self._refill()
            self._left -= seconds

    def is_used_up(self) -> bool:
        """Whether less than a tenth of the burst is left."""
        with self._lock:
            self._refill()
            return self._left < _USED_UP * self._burst_s

    def wait(self) -> None:
        """Sleep until there is something to use."""
        while True:
            with self._lock:
                self._refill()
                missing = -self._left
            if missing <= 0:
                return
            time.sleep(min(missing / self._share, 0.25))

    def _refill(self) -> None:
        now = time.monotonic()
        self._left = min(self._burst_s, self._left + self._share * (now - self._at))
        self._at = now
