"""A camera among several: what it costs is bounded, and its frames do not grow old on the way."""

import os
import threading
import time
from itertools import count
from types import SimpleNamespace

import pytest

from edgeguard.pipeline import core_share
from edgeguard.pipeline.core_share import CoreShare


def test_the_model_does_not_hold_up_reading() -> None:
    share = CoreShare(0.01, 0.01)
    share.after_reading()
    share.spend(100.0)
    began = time.monotonic()
    share.after_reading()
    assert time.monotonic() - began < 2


def test_reading_is_held_up_by_itself_and_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    used_s = (0.05 * frame for frame in count())  # a clock of our own: that of a busy machine takes its time
    clock = SimpleNamespace(thread_time=lambda: next(used_s), monotonic=time.monotonic)
    monkeypatch.setattr(core_share, "time", clock)
    monkeypatch.setattr(core_share, "_LOOKED_S", 0.02)
    monkeypatch.setattr(core_share, "_NICE", os.getpriority(os.PRIO_PROCESS, 0))  # this thread goes on after the test
    said: list[str] = []
    share = CoreShare(2.0, 0.01, lambda: said.append("slowed"))
    began = time.monotonic()
    share.after_reading()
    assert said == []
    for _ in range(4):
        share.after_reading()
    assert time.monotonic() - began > 0.18  # 0.2 s less the burst, at half of the share
    assert said == ["slowed"]


@pytest.mark.parametrize("spent_s", [0.0, 0.06])
def test_work_waits_for_what_was_spent(spent_s: float) -> None:
    share = CoreShare(0.1, 0.01)
    share.before_work()
    began = time.monotonic()  # from here on it comes back
    share.spend(spent_s)
    share.before_work()
    assert (time.monotonic() - began > 0.4) is bool(spent_s)


def flooded(share: CoreShare) -> None:
    """Compute in the name of reading until its part is used up."""
    share.after_reading()
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    share.after_reading()


def test_a_flood_is_read_last_and_no_other_thread() -> None:
    share, found = CoreShare(1.0, 0.01), list[int]()

    def read() -> None:
        share.after_reading()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        flooded(share)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert found == [before, 19] and os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@pytest.mark.parametrize("is_flooding", [False, True])
def test_results_of_a_flood_cost_more(is_flooding: bool) -> None:
    share = CoreShare(0.4, 0.05)
    if is_flooding:
        share._reading.spend(0.05)  # used up for as long as this test looks
    share.before_work()
    share.spend(0.05 + 0.04)  # 0.1 s at this share, beyond the burst; 0.55 s for a flood
    began = time.monotonic()
    share.before_work()
    assert (time.monotonic() - began > 0.4) is is_flooding
