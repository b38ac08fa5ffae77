"""A run from settings to its end."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import Applied, Captured, Lost, Source, open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.model import load_model
from edgeguard.model.input_path import InputPath
from edgeguard.patchguard import Guarded
from edgeguard.run.runner import run
from edgeguard.run.settings import Settings
from edgeguard.system.power import Power

Said = Callable[[], list[str]]


def _same(source: Source) -> Source:
    return source


class Live:
    """A live source of noise, that lies still for a while where told."""

    name, live, applied = "live", True, Applied(160, 120, "RGB", 50.0)

    def __init__(self, count: int, fps: float = 100) -> None:
        self.count, self.fps, self.closed = count, fps, False

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


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    """The lines that were logged so far."""
    caplog.set_level(logging.INFO, logger="edgeguard")
    return lambda: caplog.messages


def test_alarms_ring_are_recorded_and_end(tmp_path: Path, said: Said) -> None:
    """A patch guard that rings on everything."""
    model = load_model(bundled_model())
    ring = mock.Mock(side_effect=lambda image: Guarded(image, np.ones(image.shape[:2], bool), alarm=True))
    model.input_path = InputPath(model.contract, patch_guard=ring)
    settings = Settings(
        source="x", frames=30, alarm_window=5, record=str(tmp_path / "events"), output=str(tmp_path / "r.jsonl")
    )
    outcome = run(settings, model, lambda: Live(1000))
    assert outcome.failure is None and outcome.pipeline.counters.frames == 30 and "ALARM patch" in said()
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) == 30 and "alarms" not in lines[3] and lines[-1]["alarms"] == ["patch"]
    (event,) = (tmp_path / "events").iterdir()
    assert event.name.endswith("-patch") and len(list(event.glob("*.jpg"))) >= 25


def test_a_camera_that_comes_back_is_said(said: Said) -> None:
    cameras = iter([Live(10), Live(10_000)])
    settings = Settings(source="x", frames=40, lost_after=1.0)
    outcome = run(settings, load_model(bundled_model()), lambda: next(cameras))
    assert said() == [
        "live: RGB, 160x120, 50 frames/s",
        "camera lost: the stream ended; trying again",
        "camera is back",
    ]
    assert outcome.pipeline.counters.losses == outcome.pipeline.counters.reconnects == 1


def test_a_camera_that_stays_away_ends_the_run_when_told_to() -> None:
    def once() -> Iterator[Live]:
        yield Live(5)
        while True:
            raise DeviceError("unplugged")

    cameras = once()

    def opening() -> Live:
        try:
            return next(cameras)
        except StopIteration:
            raise DeviceError("unplugged") from None

    outcome = run(Settings(source="x", give_up_after=0.4), load_model(bundled_model()), opening)
    assert outcome.failure is not None and "unplugged" in str(outcome.failure) and outcome.pipeline.counters.frames > 0


@pytest.mark.full
def test_it_slows_down_when_the_processor_is_throttled(said: Said) -> None:
    hot = Power(84.0, ("throttled",), ("throttled",))
    with mock.patch("edgeguard.run.runner.read_power", lambda: hot), mock.patch("edgeguard.run.runner._TICK_S", 0.1):
        outcome = run(Settings(source="x", frames=30), load_model(bundled_model()), lambda: Live(10_000))
    assert any(line.startswith("slowed down on purpose to") and "throttled" in line for line in said())
    assert outcome.pipeline.timing.fps is not None and outcome.pipeline.timing.fps < 60


def test_the_cameras_tables_are_said_and_a_change_of_them(scene: np.ndarray, said: Said) -> None:
    class Jpegs(Live):
        def frames(self) -> Iterator[Captured | Lost]:
            for index in range(self.count):
                time.sleep(0.02)
                quality = "jpeg:90" if index < 20 else "jpeg:60"
                jpeg = encode_jpeg(scene, GuardProfile.preset(quality))
                yield Captured(index, self.name, jpeg, None, time.time(), "received")

    with mock.patch("edgeguard.run.runner._TICK_S", 0.05):
        run(Settings(source="x", frames=45), load_model(bundled_model()), lambda: Jpegs(50))
    coding = [line for line in said() if line.startswith("the camera's JPEGs: baseline 420, tables ")]
    assert len(coding) == len(set(coding)) == 2


def test_a_damaged_seal_of_a_hostile_camera_ends_nothing(scene: np.ndarray, said: Said) -> None:
    """The watchdog is fed on, and another frame's tables are said."""
    good = encode_jpeg(scene, GuardProfile.preset("jpeg:90"))
    bad = good[:2] + b"\xff\xef\x00\x10EDGEGUARD\0\x01xyz" + good[2:]

    class Hostile(Live):
        def frames(self) -> Iterator[Captured | Lost]:
            for index in range(self.count):
                time.sleep(0.02)
                yield Captured(index, self.name, bad if index < 30 else good, None, time.time(), "received")

    heard = list[str]()
    with mock.patch("edgeguard.run.runner._TICK_S", 0.05), mock.patch("edgeguard.run.runner.notify", heard.append):
        run(Settings(source="x", frames=50), load_model(bundled_model()), lambda: Hostile(60))
    assert any("tables" in line for line in said()) and heard.count("WATCHDOG=1") >= 8


def test_systemd_hears_ready_watchdog_and_stopping() -> None:
    heard: list[str] = []
    with mock.patch("edgeguard.run.runner.notify", heard.append), mock.patch("edgeguard.run.runner._TICK_S", 0.05):
        run(Settings(source="x", frames=30), load_model(bundled_model()), lambda: Live(10_000))
    assert heard[0] == "READY=1" and "WATCHDOG=1" in heard and "STOPPING=1" in heard[-2:]


def test_a_model_that_hangs_stops_the_watchdog() -> None:
    model, heard = load_model(bundled_model()), list[str]()
    run_model = model.run

    def hang(tensor: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        time.sleep(1.5)
        return run_model(tensor)

    with (
        mock.patch.object(model, "run", hang),
        mock.patch("edgeguard.run.runner.notify", heard.append),
        mock.patch.multiple("edgeguard.run.runner", _TICK_S=0.05, _STUCK_S=0.5),
    ):
        run(Settings(source="x", frames=1), model, lambda: Live(10_000))
    assert 0 < heard.count("WATCHDOG=1") < 15


def test_files_are_written_in_step_and_their_errors_end_the_run(tmp_path: Path) -> None:
    settings = Settings(source="synthetic:cards?frames=5", output="/dev/full")
    outcome = run(settings, load_model(bundled_model()), lambda: open_source(settings.source or ""))
    assert outcome.failure is not None and "No space left" in str(outcome.failure)


def test_what_cannot_be_is_said_before_anything_runs(tmp_path: Path) -> None:
    model = load_model(bundled_model())
    for settings, error, said in (
        (Settings(source="x", region="1,2"), InputError, "a region is"),
        (Settings(source="x", save="x.avi"), InputError, "wants an .mp4"),
        (Settings(source="x", output=str(tmp_path / "no/r.jsonl")), DeviceError, "cannot write"),
        (Settings(source="x", web="0.0.0.0:0"), InputError, "give --web-token-file"),
    ):
        source = Live(10)
        with pytest.raises(error, match=said):
            run(settings, model, partial(_same, source))
        assert source.closed
