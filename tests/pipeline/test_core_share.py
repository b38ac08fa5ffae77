"""A camera among several: what it costs is bounded, and its frames do not grow old on the way."""

import time

import numpy as np
import pytest

from edgeguard.pipeline.core_share import CoreShare


def _compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        np.sqrt(2.0)


def test_the_model_does_not_hold_up_reading() -> None:
    share = CoreShare(0.01, 0.01)
    share.after_reading()
    share.spend(100.0)
    began = time.monotonic()
    share.after_reading()
    assert time.monotonic() - began < 2


def test_reading_is_held_up_by_itself_and_that_is_said_once() -> None:
    said: list[str] = []
    share = CoreShare(0.2, 0.01, lambda: said.append("slowed"))
    share.after_reading()
    began = time.monotonic()
    for _ in range(4):
        _compute(0.05)
        share.after_reading()
    assert time.monotonic() - began > (4 * 0.05 - 0.01) / 0.1 * 0.9
    assert said == ["slowed"]


@pytest.mark.parametrize("spent_s", [0.0, 0.06])
def test_work_waits_for_what_was_spent(spent_s: float) -> None:
    share = CoreShare(0.1, 0.01)
    share.before_work()
    share.spend(spent_s)
    began = time.monotonic()
    share.before_work()
    assert (time.monotonic() - began > 0.4) is bool(spent_s)
