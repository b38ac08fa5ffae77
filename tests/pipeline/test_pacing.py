"""When frames are taken, on a clock that only waits move."""

from collections.abc import Iterator
from unittest import mock

import pytest

from edgeguard.pipeline.pacing import Timing

_RATE = 10.0


class Clock:
    """Stands for `time` and for the condition that the timing waits on: waiting takes its time and `late_s` more."""

    def __init__(self, late_s: float) -> None:
        self.now, self.late_s = 1000.0, late_s

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout_s: float) -> None:
        self.now += timeout_s + self.late_s

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _taken_at(preparing_s: Iterator[float], count: int, late_s: float = 0.0) -> list[float]:
    """The times at which frames are taken, of which preparing takes so long."""
    clock, timing = Clock(late_s), Timing(_RATE)
    taken = []
    with mock.patch("edgeguard.pipeline.pacing.time", clock), mock.patch.object(timing, "_changed", clock):
        for _ in range(count):
            timing.until_wanted()
            taken.append(clock.now)
            takes_s = next(preparing_s)
            clock.now += takes_s
            timing.prepared(takes_s)
    return taken


def _most_in_excess(taken: list[float]) -> float:
    """Over all stretches: frames beyond what the rate allows."""
    return max(
        last - first + 1 - _RATE * (taken[last] - taken[first]) for last in range(len(taken)) for first in range(last)
    )


@pytest.mark.parametrize("slow", [[0.02], [0.09], [0.3], [1.0], [0.005] * 20 + [0.4]], ids=str)
@pytest.mark.parametrize("late_s", [0.0, 0.002, 0.02])
def test_a_slow_preparation_brings_no_frame_forward(slow: list[float], late_s: float) -> None:
    """Neither the first one, of a kernel that is built or a file that is read, nor one in between."""
    taken = _taken_at(iter([*slow, *[0.005] * 60]), 60, late_s)
    assert _most_in_excess(taken) <= 1.25 + 1e-6


def test_a_rate_is_reached_although_each_wait_ends_late() -> None:
    taken = _taken_at(iter([0.005] * 101), 101, late_s=0.004)
    assert taken[-1] - taken[0] == pytest.approx(10.0, abs=0.01)
