import threading
import time
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import pytest

from edgeguard.camera.connection import close_in_time
from edgeguard.camera.frozen import PictureClock
from edgeguard.camera.reader import Drop, FrameReader, State
from edgeguard.camera.source import Applied, Captured, FormatError, Lost, Source, Unchanged
from edgeguard.errors import DeviceError
from edgeguard.jpeg.seal import Seal, seal_png
from edgeguard.png.frame import write_png


class Scripted:
    """A live source that waits where told and may fail at the end."""

    live, name, applied = True, "scripted", Applied()

    def __init__(
        self,
        count: int,
        gap_s: float = 0.0,
        error: Exception | None = None,
        lost: int = -1,
        then_silent: bool = False,
        hangs: threading.Event | None = None,
    ) -> None:
        self.count, self.gap_s, self.error, self.lost = count, gap_s, error, lost
        self.then_silent, self.hangs = then_silent, hangs
        self.closed = threading.Event()

    def frames(self) -> Iterator[Captured | Lost]:
        for index in range(self.count):
            if self.closed.wait(self.gap_s):
                return
            if index == self.lost:
                yield Lost(index, "scripted", "damaged")
            else:
                yield Captured(index, "scripted", b"", None, time.time(), "received")
        if self.then_silent:
            self.closed.wait(30)
        if self.hangs is not None:
            self.hangs.wait(30)  # and does not listen to close
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


def test_policies_of_a_full_queue() -> None:
    policies: tuple[tuple[Drop, list[int]], ...] = (("oldest", [17, 18, 19]), ("newest", [0, 1, 2]))
    for drop, expected in policies:
        reader = FrameReader(Scripted(20), lambda frame: frame.index, capacity=3, drop=drop)
        with reader:
            time.sleep(0.2)
            assert list(reader) == expected and reader.dropped == 17
    with FrameReader(Scripted(20), lambda frame: frame.index, capacity=3, drop="wait", lost_after_s=0.2) as reader:
        time.sleep(0.5)  # holding the source up is no loss
        assert list(reader) == list(range(20)) and reader.dropped == 0


def test_frames_that_are_not_wanted_are_counted() -> None:
    with FrameReader(Scripted(10, 0.002), lambda f: f.index if f.index % 3 == 0 else None, capacity=9) as reader:
        assert list(reader) == [0, 3, 6, 9] and reader.skipped == 6 and reader.captured == 10


class Camera:
    """Opens as often as it is asked; what each connection does is scripted. Numbers restart with each."""

    def __init__(self, *lives: Scripted | Exception | Callable[[], Source]) -> None:
        self.lives, self.opened = list(lives), 0

    def __call__(self) -> Source:
        life = self.lives[min(self.opened, len(self.lives) - 1)]
        self.opened += 1
        if isinstance(life, Exception):
            raise life
        return life() if callable(life) else life


def test_a_silent_camera_is_lost_on_time_and_back_with_numbers_that_go_on() -> None:
    states: list[tuple[float, State, str]] = []
    silent, good = Scripted(3, then_silent=True), Scripted(1000, 0.01)
    began = time.monotonic()
    with FrameReader(
        silent, lambda frame: frame.index, reopen=Camera(good), lost_after_s=0.4, capacity=100,
        on_state=lambda state, why: states.append((time.monotonic() - began, state, why)),
    ) as reader:  # fmt: skip
        seen = [reader.take() for _ in range(10)]
        assert reader.state is State.RUNNING
    assert seen == list(range(10)) and reader.losses == 1 and reader.reconnects == 1
    lost_at, _, why = next(entry for entry in states if entry[1] is State.LOST)
    assert 0.4 <= lost_at < 0.9 and "no whole frame for 0.4 s" in why and silent.closed.is_set()
    assert [state for _, state, _ in states][-1] is State.STOPPED


def test_a_driver_that_hangs_in_read_or_in_open_harms_nobody() -> None:
    release = threading.Event()

    def hanging() -> Source:
        release.wait(20)
        raise DeviceError("at last")

    before = threading.active_count()
    stuck = Scripted(2, hangs=release)
    reopen = Camera(hanging, DeviceError("busy"), Scripted(10_000, 0.01))
    with FrameReader(stuck, lambda frame: frame.index, reopen=reopen, lost_after_s=0.3) as reader:
        began = time.monotonic()
        while reader.reconnects == 0:
            assert time.monotonic() - began < 8
            time.sleep(0.01)
        assert reader.take() is not None and reopen.opened == 3
    release.set()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_it_gives_up_when_told_to() -> None:
    with FrameReader(
        Scripted(2), lambda frame: frame.index, reopen=Camera(DeviceError("unplugged")), give_up_after_s=0.5, capacity=9
    ) as reader:
        assert [reader.take(), reader.take()] == [0, 1]
        with pytest.raises(DeviceError, match="unplugged"):
            reader.take()
    assert reader.losses == 1 and reader.reconnects == 0


@pytest.mark.full
def test_a_driver_that_hangs_for_good_ends_the_reader() -> None:
    release = threading.Event()

    def hanging() -> Source:
        release.wait(60)
        raise DeviceError("at last")

    with FrameReader(Scripted(1), lambda frame: frame.index, reopen=hanging) as reader:
        with mock.patch.multiple("edgeguard.camera.reader", _MOST_STUCK=3, _PATIENCE_S=0.1, _LONGEST_DELAY_S=0.2):
            assert reader.take() == 0
            with pytest.raises(DeviceError, match="the driver hangs in 3 calls"):
                reader.take()
    release.set()


def test_a_surprise_in_a_driver_is_a_loss() -> None:
    with FrameReader(Scripted(1, error=ValueError("bad")), lambda frame: frame.index) as reader:
        assert reader.take() == 0
        with pytest.raises(DeviceError, match="ValueError: bad"):
            reader.take()


class HangsInClose(Scripted):
    """Its `close` does not come back."""

    def __init__(self, release: threading.Event, count: int = 2) -> None:
        super().__init__(count, 0.01, then_silent=True)
        self.release, self.closing_threads = release, set[str]()

    def close(self) -> None:
        self.closing_threads.add(threading.current_thread().name)
        self.release.wait(60)
        super().close()


@pytest.mark.full
def test_a_driver_that_hangs_in_close_is_left_and_the_camera_found_again() -> None:
    release = threading.Event()
    stuck = HangsInClose(release)
    with FrameReader(
        stuck, lambda frame: frame.index, reopen=Camera(Scripted(10_000, 0.01)), lost_after_s=0.3
    ) as reader:
        began = time.monotonic()
        while reader.reconnects == 0:
            assert time.monotonic() - began < 3
            time.sleep(0.01)
        assert reader.take() is not None
        began = time.monotonic()
    assert time.monotonic() - began < 3.5 and stuck.closing_threads == {"edgeguard-closing"}
    release.set()


@pytest.mark.full
def test_it_gives_up_on_time_though_closing_hangs() -> None:
    release = threading.Event()
    reopen = Camera(DeviceError("unplugged"))
    with FrameReader(
        HangsInClose(release), lambda f: f.index, reopen=reopen, lost_after_s=0.2, give_up_after_s=0.5, capacity=9
    ) as reader:
        began = time.monotonic()
        with pytest.raises(DeviceError, match="unplugged"):
            list(reader)
    assert time.monotonic() - began < 6  # two of them for closing
    release.set()


def test_a_surprise_in_close_harms_nobody() -> None:
    class Breaks(Scripted):
        def close(self) -> None:
            super().close()
            raise ValueError("a driver's")

    with FrameReader(Breaks(3), lambda frame: frame.index, capacity=9) as reader:
        assert list(reader) == [0, 1, 2]
    assert close_in_time(Breaks(1)) and reader.losses == 0


def test_a_loss_after_the_stop_is_none() -> None:
    states: list[State] = []
    good = Scripted(10_000, 0.005, error=DeviceError("its connection broke off"))
    with FrameReader(
        good, lambda frame: frame.index, reopen=lambda: good, on_state=lambda state, why: states.append(state)
    ) as reader:
        assert reader.take() is not None
        reader.stop()
    assert reader.losses == 0 and State.LOST not in states and states[-1] is State.STOPPED


class Says(Scripted):
    """Gives what it is told to, then is silent."""

    def __init__(self, *items: Captured | Lost | Unchanged, gap_s: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(0, error=error)
        self.items, self.gap = items, gap_s

    def frames(self) -> Iterator[Captured | Lost]:
        for item in self.items:
            if self.closed.wait(self.gap):
                return
            yield item  # type: ignore[misc]  # as a source of stills does
        if self.error is not None:
            raise self.error
        self.closed.wait(30)


def _picture(data: bytes = b"\xff\xd8") -> Captured:
    return Captured(0, "x", data, None, time.time(), "received")


def test_refused_frames_are_counted_apart_and_are_no_loss_of_the_camera() -> None:
    states: list[tuple[State, str]] = []
    lost: list[Lost] = []
    refused = [Lost(0, "x", "its MAC is not the key's", "wrong MAC"), Lost(0, "x", "replayed", "replayed")]
    first = Says(_picture(), Lost(0, "x", "it ends early"), *refused, *refused[:1])
    reopen = Camera(Says(*refused), Says(*refused, _picture()))
    with FrameReader(
        first, lambda f: f.index, reopen=reopen, lost_after_s=0.3, capacity=9,
        on_state=lambda state, why: states.append((state, why)), on_lost=lost.append,
    ) as reader:  # fmt: skip
        assert [reader.take(), reader.take()] == [0, 9]
    assert reader.refused == {"wrong MAC": 4, "replayed": 3} and reader.lost == 1 and len(lost) == 8
    assert reader.losses == reader.reconnects == 0
    kinds = [state for state, _ in states]
    assert State.REFUSED in kinds and State.LOST not in kinds and State.BACKING_OFF not in kinds
    said = next(why for state, why in states if state is State.REFUSED)
    assert said.startswith("scripted: 3 frames were refused") and "another key, or somebody" in said


def test_what_never_gives_a_picture_ends_the_reader() -> None:
    wrong = Says(error=FormatError("it sends text"))
    with FrameReader(wrong, lambda f: f.index, reopen=Camera(wrong)) as reader:
        with pytest.raises(FormatError, match="it sends text"):
            reader.take()
    assert reader.losses == 0
    later = Camera(Says(error=FormatError("it sends text")), Says(_picture()))
    with FrameReader(Says(_picture()), lambda f: f.index, reopen=later, lost_after_s=0.2, capacity=9) as reader:
        assert [reader.take(), reader.take()] == [0, 1]  # a camera that did give some may come back


def test_a_camera_that_says_that_nothing_changed_is_there() -> None:
    same = Unchanged("x")
    source = Says(_picture(b"\xff\xd8 \xff\xda 1"), *[same] * 8, _picture(b"\xff\xd8 \xff\xda 2"), same, gap_s=0.1)
    with FrameReader(source, lambda f: f.index, reopen=Camera(source), lost_after_s=0.5, capacity=9) as reader:
        assert [reader.take(), reader.take()] == [0, 1]
        assert reader.losses == 0 and reader.unchanged == 8 and reader.captured == 2


def test_how_long_a_picture_is_the_same() -> None:
    clock = PictureClock()
    sealed = [b"\xff\xd8\xff\xef seal %d \xff\xda the same picture" % number for number in range(3)]
    assert clock.same_for_s(9.0) == 0
    for now, data in enumerate(sealed):
        clock.saw(_picture(data), now=float(now))
    assert clock.same_for_s(5.0) == 5.0
    clock.saw(_picture(sealed[0] + b"!"), now=6.0)
    assert clock.same_for_s(60.0) == 0
    clock.saw_nothing_new()
    assert clock.same_for_s(60.0) == 54.0
    rgb = np.zeros((64, 64, 3), np.uint8)
    other = rgb.copy()
    other[3, 5, 1] = 1
    for number, (levels, same_s) in enumerate(((rgb, 0), (rgb, 9), (other, 0))):  # a sensor's frames without loss
        png = seal_png(write_png(levels), Seal(number, float(number), "", ""))
        clock.saw(Captured(0, "x", None, None, 0.0, "received", png), now=float(number))
        assert clock.same_for_s(9.0) == same_s
    for now, frame in enumerate((rgb, rgb.copy(), other)):
        clock.saw(Captured(0, "x", None, frame, 0.0, "received"), now=float(now))
        assert clock.same_for_s(9.0) == (9.0 if now == 1 else 0)
