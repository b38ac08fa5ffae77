"""A camera that misbehaves in every way: lost on time, back on time, every loss counted, nothing left behind."""

import gc
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from camera.faulty import FAULTS, FaultyCamera
from numpy.typing import NDArray

from edgeguard.camera import open_source
from edgeguard.camera.reader import FrameReader, State
from edgeguard.guard import GuardProfile, encode_jpeg

LOST_AFTER_S = 0.5


def _go_through(camera: FaultyCamera, faults: list[str]) -> FrameReader[int]:
    """Each fault until the camera is lost, then good until it is back."""
    with FrameReader(
        open_source(camera.url), lambda frame: frame.index, reopen=lambda: open_source(camera.url),
        lost_after_s=LOST_AFTER_S,
    ) as reader:  # fmt: skip
        drain = threading.Thread(target=lambda: list(reader), daemon=True)
        drain.start()
        _wait(lambda: reader.captured > 3, 5, "start")
        for count, fault in enumerate(faults, start=1):
            camera.mode = fault
            _wait(partial(_has_lost, reader, count), LOST_AFTER_S + 0.5, f"{fault}: lost on time")
            time.sleep(random.uniform(0, 0.6))
            captured, camera.mode = reader.captured, "good"
            _wait(partial(_has_captured, reader, captured + 3), 2.0, f"{fault}: back on time")
            assert reader.state is State.RUNNING
        assert reader.losses == reader.reconnects == len(faults)
    drain.join(5)
    assert not drain.is_alive()
    return reader


def _has_lost(reader: FrameReader[int], count: int) -> bool:
    return reader.losses == count


def _has_captured(reader: FrameReader[int], count: int) -> bool:
    return reader.captured >= count


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    """Two frames, the second of another size."""
    camera = GuardProfile.preset("jpeg:90")
    return [encode_jpeg(scenes[0], camera), encode_jpeg(np.ascontiguousarray(scenes[1][:200, :120]), camera)]


@pytest.mark.full
def test_each_fault_once(jpegs: list[bytes]) -> None:
    with FaultyCamera(jpegs) as camera:
        reader = _go_through(camera, list(FAULTS))
    assert 0 < reader.captured <= camera.sent and reader.lost > 0


@pytest.mark.full
def test_two_hundred_random_faults(jpegs: list[bytes]) -> None:
    random.seed(7)
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    with FaultyCamera(jpegs) as camera:
        _go_through(camera, random.choices(FAULTS, k=200))
    _wait(lambda: threading.active_count() <= threads, 5, "threads are gone")
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1
