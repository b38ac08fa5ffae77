import threading
import time
from collections.abc import Iterator

import pytest

from edgeguard.camera.frame import Applied, Captured, Lost
from edgeguard.camera.reader import FrameReader
from edgeguard.errors import DeviceError


class Scripted:
    """A live source that waits where told and may fail at the end."""

    live, name, applied = True, "scripted", Applied()

    def __init__(self, count: int, gap_s: float = 0.0, error: Exception | None = None, lost: int = -1) -> None:
        self.count, self.gap_s, self.error, self.lost = count, gap_s, error, lost
        self.closed = threading.Event()

    def frames(self) -> Iterator[Captured | Lost]:
        for index in range(self.count):
            if self.closed.wait(self.gap_s):
                return
            if index == self.lost:
                yield Lost(index, "scripted", "damaged")
            else:
                yield Captured(index, "scripted", b"", None, time.time(), "received")
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed.set()


def test_a_slow_reader_gets_the_newest_and_every_frame_is_counted() -> None:
    seen = []
    with FrameReader(Scripted(60, 0.005, lost=7), lambda frame: frame.index) as reader:
        for index in reader:
            seen.append(index)
            time.sleep(0.04)
    assert seen == sorted(set(seen)) and seen[-1] == 59
    assert reader.captured == 59 and reader.lost == 1
    assert reader.dropped == reader.captured - len(seen) > 10


def test_a_loss_comes_after_the_frames_before_it() -> None:
    seen = []
    with FrameReader(Scripted(1, error=DeviceError("gone")), lambda frame: frame.index) as reader:
        with pytest.raises(DeviceError, match="gone"):
            for index in reader:
                seen.append(index)
    assert seen == [0]


def test_leaving_early_stops_the_thread() -> None:
    before = threading.active_count()
    with FrameReader(Scripted(10_000, 0.01), lambda frame: frame.index) as reader:
        next(iter(reader))
    assert threading.active_count() == before
