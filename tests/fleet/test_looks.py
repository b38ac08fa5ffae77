"""When a device looks: news is looked at, and nobody makes it look without a pause."""

import itertools
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
from system.test_watched_answer import endless

from edgeguard.fleet import agent
from edgeguard.fleet.agent import Outcome, Reporter, Updater, run_for_ever
from edgeguard.fleet.fetch import Fetcher
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.link import Link
from edgeguard.fleet.looks import LEAST_PAUSE_S, Looks


def test_news_is_looked_at_now_or_when_the_pause_is_over() -> None:
    looks = Looks(900.0, 100.0)
    looks.news(3.0)
    assert looks.at == 3.0, "the first news counts at once"
    looks.ended(4.0, 0, 1.1)
    assert looks.at == pytest.approx(994.0)
    for now in (4.0, 5.0, 5.1):
        looks.news(now)
        assert looks.at == 4.0 + LEAST_PAUSE_S, "more news does not put it off, and does not bring it nearer"
    looks.ended(30.0, 0, 1.0)
    looks.news(500.0)
    assert looks.at == 500.0


def test_looks_that_fail_come_later_and_later() -> None:
    looks, waits = Looks(900.0, 0.0), []
    for failures in (1, 2, 3, 4, 5, 60):
        looks.ended(0.0, failures, 1.0)
        waits.append(looks.at)
    assert waits == [30, 60, 120, 240, 300, 300]
    often = Looks(2.0, 0.0)
    often.ended(0.0, 3, 1.0)
    assert often.at == 2.0


class _Enough(BaseException):
    pass


@pytest.mark.parametrize("always", [True, False])
def test_the_agent_pauses_and_loses_no_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, always: bool) -> None:
    monkeypatch.setattr("edgeguard.fleet.looks.LEAST_PAUSE_S", 0.2)
    link, looked, rounds, began = SimpleNamespace(wake=threading.Event()), list[float](), [0], time.monotonic()

    class Service:
        def death(self) -> None:
            rounds[0] += 1
            if time.monotonic() > began + 10:
                raise _Enough
            if always:
                time.sleep(0.01)
                link.wake.set()  # a stranger says it all the time

    def look(url: str, fetcher: Any) -> Outcome:
        looked.append(time.monotonic())
        link.wake.set()  # during the look
        if len(looked) == 3:
            raise _Enough
        return Outcome("current", "x")

    def state(layout: Layout) -> Any:
        if not looked:
            link.wake.set()
        return SimpleNamespace(current=True if looked else None)

    monkeypatch.setattr(agent, "read_state", state)
    updater = SimpleNamespace(layout=Layout(tmp_path), service=Service(), resume=lambda: None, look=look)
    with pytest.raises(_Enough):
        run_for_ever(
            cast(Updater, updater), "http://x", cast(Reporter, SimpleNamespace(report=lambda: None, refused=None)),
            cast(Link, link), every_s=900.0,
        )  # fmt: skip
    pauses = [later - sooner for sooner, later in itertools.pairwise(looked)]
    assert len(pauses) == 2 and all(0.2 <= pause < 2 for pause in pauses), pauses
    assert rounds[0] < (60 if always else 12), "it sleeps in the pause"


def test_a_run_that_ends_while_a_repository_is_slow_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the least rate a bundle takes days: neither the run nor the reports wait for it."""
    monkeypatch.setattr(agent, "read_state", lambda layout: SimpleNamespace(current=True))
    starts, reports, looked = list[float](), list[float](), list[bool]()

    def look(url: str, fetcher: Fetcher) -> Outcome:
        for _ in fetcher.pieces(url):
            looked.append(bool(starts and reports))
        raise _Enough

    with endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(100), 0.02) as port:

        class Service:
            def death(self) -> str | None:
                return "it was killed" if looked else None

            def restart(self) -> None:
                if looked:
                    starts.append(time.monotonic())

        def report() -> None:
            reports.append(time.monotonic())
            if starts:
                raise _Enough

        monkeypatch.setattr(agent, "_TELEMETRY_S", 0.2)
        updater = SimpleNamespace(layout=Layout(tmp_path), service=Service(), resume=lambda: None, look=look)
        with pytest.raises(_Enough):
            run_for_ever(
                cast(Updater, updater), f"http://127.0.0.1:{port}/x",
                cast(Reporter, SimpleNamespace(report=report, refused=None)), None, every_s=0.1,
            )  # fmt: skip
    assert starts and len(reports) > 1
