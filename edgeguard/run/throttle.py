"""Slowing down on purpose: half the work while the system throttles the processor."""

from edgeguard.system.power import Power

_HOLD_S = 30.0  # without throttling before it goes faster again
_SLOWEST_FPS = 0.5


class ThrottleController:
    """Halves the rate of results while the processor is throttled, again every half minute, and doubles it back.

    Example:
        >>> control = ThrottleController()
        >>> hot, cool = Power(85.0, ("throttled",), ()), Power(60.0, (), ())
        >>> control.update(hot, 20.0, now_s=0), control.update(hot, 10.0, now_s=10), control.update(hot, 10.0, 31)
        (10.0, 10.0, 5.0)
        >>> control.update(cool, 5.0, now_s=40), control.update(cool, 5.0, now_s=71), control.update(cool, 10.0, 102)
        (5.0, 10.0, None)
    """

    def __init__(self) -> None:
        self._limit_fps: float | None = None
        self._unlimited_fps = 0.0
        self._changed_s = float("-inf")

    def update(self, power: Power, rate_fps: float, now_s: float) -> float | None:
        """The limit in results a second from now on; None for none.

        Args:
            power: what the system says.
            rate_fps: results a second now.
            now_s: monotonic time.
        """
        due = now_s - self._changed_s >= _HOLD_S
        if power.slowed and due:
            if self._limit_fps is None:
                self._unlimited_fps = rate_fps
            self._limit_fps = max((self._limit_fps or rate_fps) / 2, _SLOWEST_FPS)
            self._changed_s = now_s
        elif power.slowed:
            pass
        elif self._limit_fps is not None and due:
            doubled = 2 * self._limit_fps
            self._limit_fps = None if doubled >= self._unlimited_fps else doubled
            self._changed_s = now_s
        return self._limit_fps
