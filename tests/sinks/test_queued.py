"""A slow or dead sink delays nobody and harms nobody; what it did not get is counted."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult
from edgeguard.sinks import jsonl
from edgeguard.sinks.jsonl import JsonLines
from edgeguard.sinks.queued import QueuedSink

Make = Callable[..., FrameResult]


class Recording:
    """Takes results; slow or failing on demand."""

    def __init__(self) -> None:
        self.seen: list[FrameResult] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False
        self.closed = 0

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def write(self, result: FrameResult) -> None:
        self.gate.wait(10)
        if self.failing:
            raise DeviceError("gone")
        self.seen.append(result)


def test_results_arrive_in_order_without_their_pictures(make: Make) -> None:
    sink = Recording()
    with QueuedSink("x", lambda: sink) as queued:
        for frame in range(50):
            queued.write(make(frame))
    assert [result.frame for result in sink.seen] == list(range(50)) and queued.written == 50
    assert all(result.received is None for result in sink.seen) and sink.closed == 1
    with QueuedSink("x", lambda: sink, pictures=True) as queued:
        queued.write(make(1))
    assert sink.seen[-1].received is not None


def test_a_slow_one_loses_the_oldest_and_delays_nobody(make: Make) -> None:
    sink = Recording()
    sink.gate.clear()
    with QueuedSink("x", lambda: sink, capacity=8) as queued:
        began = time.monotonic()
        for frame in range(100):
            queued.write(make(frame))
        assert time.monotonic() - began < 1.0
        sink.gate.set()
    assert queued.dropped + queued.written == 100 and queued.written <= 10 and sink.seen[-1].frame == 99


def test_a_dead_one_is_said_once_tried_again_and_works_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    sink, opened = Recording(), list[int]()
    caplog.set_level(logging.INFO, logger="edgeguard")

    def opening() -> Recording:
        opened.append(1)
        return sink

    with mock.patch("edgeguard.sinks.queued._RETRY_S", 0.1), QueuedSink("x", opening) as queued:
        sink.failing = True
        for frame in range(20):
            queued.write(make(frame))
            time.sleep(0.02)
        assert queued.failure == "gone"
        (line,) = caplog.messages
        assert "x: gone; its results are dropped" in line
        assert 1 < len(opened) < 10
        sink.failing = False
        time.sleep(0.15)
        queued.write(make(20))
    assert queued.failure is None and queued.written == 1 and queued.dropped == 20
    assert caplog.messages[1:] == ["x works again; 20 results were dropped"]


def test_a_full_disk_harms_the_other_sinks_not(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        QueuedSink("output", lambda: JsonLines("/dev/full")) as full,
        QueuedSink("other", lambda: JsonLines(str(tmp_path / "r.jsonl"))) as good,
    ):
        for frame in range(5):
            full.write(make(frame))
            good.write(make(frame))
    assert full.dropped == 5 and "No space left" in (full.failure or "") and len(caplog.messages) == 1
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 5 and good.failure is None


def test_one_that_cannot_be_opened_at_the_start() -> None:
    with pytest.raises(DeviceError, match="cannot write"):
        QueuedSink("output", lambda: JsonLines("no/such/folder/r.jsonl"))


def test_a_reader_that_leaves_ends_the_run(make: Make) -> None:
    class Left(Recording):
        def write(self, result: FrameResult) -> None:
            raise BrokenPipeError

    with QueuedSink("output", Left) as queued:
        queued.write(make(0))
        time.sleep(0.1)
        with pytest.raises(BrokenPipeError):
            queued.write(make(1))


def test_rotation_keeps_every_line(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    size = len(make(0).to_json()) + 1
    with JsonLines(str(path), rotate_bytes=3 * size + 10, keep=2) as sink:
        for frame in range(10):
            sink.write(make(frame))
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == ["r.jsonl", "r.jsonl.1", "r.jsonl.2"]
    lines = [
        line for name in ("r.jsonl.2", "r.jsonl.1", "r.jsonl") for line in (tmp_path / name).read_text().splitlines()
    ]
    frames = [int(line.split('"frame":')[1].split(",")[0]) for line in lines]
    assert frames == list(range(10 - len(frames), 10)) and len(frames) > 4


def test_a_pipe_waits_for_its_reader_and_not_for_ever(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "_READER_WITHIN_S", 0.2)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    began = time.monotonic()
    with pytest.raises(DeviceError, match="a pipe that nobody reads"):
        JsonLines(str(path))
    assert time.monotonic() - began < 5
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with JsonLines(str(path)) as sink:
        sink.write(make(0))
    assert os.read(reader, 1 << 20).endswith(b"}\n")
    os.close(reader)
