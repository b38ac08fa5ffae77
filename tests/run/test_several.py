"""Several cameras in one process: who hangs, dies or floods harms no other."""

import json
import logging
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.camera import Applied, Captured, Lost
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.model import load_model
from edgeguard.model.turns import Turns
from edgeguard.pipeline.result import FrameResult
from edgeguard.run.settings import Camera, Settings
from edgeguard.run.several import run_several
from edgeguard.watch.rules import EventRule, Rules


class Live:
    """A live source of noise."""

    live, applied = True, Applied(160, 120, "RGB", 20.0)

    def __init__(self, name: str, fps: float = 20, count: int = 10**6) -> None:
        self.name, self.fps, self.count, self.closed = name, fps, count, False

    def frames(self) -> Iterator[Captured | Lost]:
        generator = np.random.default_rng(0)
        for index in range(self.count):
            if self.closed:
                return
            time.sleep(1 / self.fps)
            rgb = generator.integers(0, 256, (120, 160, 3), dtype=np.uint8)
            yield Captured(index, self.name, None, rgb, time.time(), "received")

    def close(self) -> None:
        self.closed = True


def _settings(*names: str, **changes: Any) -> Settings:
    cameras = tuple(Camera(name, f"http://{name}.example/") for name in names)
    return Settings(cameras=cameras, **{"frames": 12, **changes})


def test_turns_go_to_whoever_waits_longest() -> None:
    turns, order, barrier = Turns(), list[str](), threading.Barrier(3)

    def work(name: str, times: int) -> None:
        barrier.wait()
        for _ in range(times):
            with turns.turn():
                order.append(name)
                time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(name, 20)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at in range(3, 57, 3):
        assert Counter(order[at : at + 3]) == {"a": 1, "b": 1, "c": 1}


def test_two_cameras_one_file_one_folder_one_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="edgeguard")
    rules = Rules(events=(EventRule("any", score=0.0, frames=2, record=True, before=0.2),))
    settings = _settings(
        "door", "yard", output=str(tmp_path / "r.jsonl"), record=str(tmp_path / "events"), web="127.0.0.1:0",
        metrics="127.0.0.1:0", rules=rules,
    )  # fmt: skip
    model = load_model(bundled_model())
    pages: dict[str, str] = {}

    def shown(result: FrameResult) -> None:
        if result.frame > 8 and "tiles" not in pages:
            said = [line for line in caplog.messages if line.startswith(("the page: ", "metrics: "))]
            page, metrics = (line.split(": ", 1)[1] for line in said)
            for name, url in (("tiles", f"{page}cameras.json"), ("yard", f"{page}state.json?camera=yard"),
                              ("events", f"{page}events.json"), ("metrics", metrics)):  # fmt: skip
                pages[name] = urllib.request.urlopen(url, timeout=5).read().decode()

    outcomes = run_several(settings, model, {name: partial(Live, name) for name in ("door", "yard")}, shown=shown)
    assert {name: outcome.pipeline.counters.frames for name, outcome in outcomes.items()} == {"door": 12, "yard": 12}
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert Counter(line["camera"] for line in lines) == {"door": 12, "yard": 12}
    assert [tile["camera"] for tile in json.loads(pages["tiles"])] == ["door", "yard"]
    assert json.loads(pages["yard"])["last"]["camera"] == "yard"
    assert 'edgeguard_frames_total{camera="door"}' in pages["metrics"]
    folders = sorted(path.name for path in (tmp_path / "events").iterdir())
    assert len(folders) == 2 and {name.split("-")[-3] for name in folders} == {"door", "yard"}
    for folder in (tmp_path / "events").iterdir():
        about = json.loads((folder / "event.json").read_text())
        assert about["rule"] == "any" and about["ended"] is not None and (folder / "clip.mp4").stat().st_size > 1000


class Over(Exception):
    """The test has seen enough."""


def _over(*_: object) -> None:
    raise Over


@pytest.mark.full
def test_one_that_hangs_and_one_that_dies_stop_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done, seen = threading.Event(), Counter[str]()

    def hangs() -> Live:
        done.wait(20)
        raise DeviceError("it hung")

    def shown(result: FrameResult) -> None:
        seen[str(result.camera)] += 1
        if seen["good"] == 30:
            done.set()
            signal.raise_signal(signal.SIGALRM)

    settings = _settings("good", "hung", "dead", frames=0, lost_after=1.0)
    openings: dict[str, Callable[[], Live]] = {
        "good": lambda: Live("good"), "hung": hangs, "dead": lambda: Live("dead", count=3),
    }  # fmt: skip
    before, began = signal.signal(signal.SIGALRM, _over), time.monotonic()
    try:
        outcomes = run_several(settings, load_model(bundled_model()), openings, shown=shown, ends=(Over,))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen["good"] >= 30 and seen["dead"] >= 1 and seen["hung"] == 0
    assert outcomes["good"].terminated and time.monotonic() - began < 20
    assert any(line.startswith("dead: camera lost") for line in caplog.messages)


def test_a_flood_has_its_share_and_no_more() -> None:
    seen = Counter[str]()

    def shown(result: FrameResult) -> None:
        seen[str(result.camera)] += 1

    settings = _settings("good", "flood", frames=20)
    openings = {"good": lambda: Live("good", fps=20), "flood": lambda: Live("flood", fps=2000)}
    outcomes = run_several(settings, load_model(bundled_model()), openings, shown=shown)
    good = outcomes["good"].pipeline.counters
    assert good.frames == 20 and good.to_dict()["age_ms"]["p95"] < 2000


def test_what_cannot_be_ends_the_run_before_it_began() -> None:
    model = load_model(bundled_model())

    def away() -> Live:
        raise DeviceError("no route to it")

    with pytest.raises(DeviceError, match="none of the cameras is there; a: no route to it"):
        run_several(_settings("a", "b"), model, {"a": away, "b": away})

    def wrong() -> Live:
        raise InputError("no such URL")

    with pytest.raises(InputError, match="b: no such URL"):
        run_several(_settings("a", "b", frames=0), model, {"a": lambda: Live("a"), "b": wrong})
