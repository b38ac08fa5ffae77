"""What is kept of events: clips within a frame of the rule, retention, the order in which they go, kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest

from edgeguard.errors import DeviceError
from edgeguard.jpeg.header import read_whole_jpeg
from edgeguard.pipeline.event import Event, Keeping
from edgeguard.pipeline.result import FrameResult
from edgeguard.png.frame import write_png
from edgeguard.sinks import event_store
from edgeguard.sinks.event_store import EventStore
from edgeguard.sinks.recorder import EventRecorder

Make = Callable[..., FrameResult]


def _event(name: str, began_at: float, **keeping: float) -> Event:
    kept = Keeping(keeping.get("before", 1.0), keeping.get("after", 0.5), keeping.get("retain", 0.0))
    return Event(name, "", "rule", "object", "cat", 1, 0.9, None, None, 1000.0 + began_at, began_at, began_at, 0,
                 keeping=kept)  # fmt: skip


def _frames(event: Path) -> list[int]:
    lines = [json.loads(line) for line in (event / "results.jsonl").read_text().splitlines()]
    assert sorted(path.name for path in event.glob("0*.jpg")) == [line["file"] for line in lines]
    return [line["frame"] for line in lines]


def test_a_clip_begins_and_ends_with_the_rule(make: Make, tmp_path: Path) -> None:
    event = _event("one", 5.0, before=1.0, after=0.5)
    with EventRecorder(tmp_path, 0.0, before_s=2.0) as recorder:
        for frame in range(100):
            if frame == 71:
                event.ended_at, event.ended = 7.0, 1007.0
            going = (event,) if 52 <= frame <= 70 else ()  # it began two frames before it was sure
            recorder.write(make(frame, at=frame / 10, events=going))
        assert _frames(tmp_path / "one") == list(range(40, 76))
    reader = cv2.VideoCapture(str(tmp_path / "one" / "clip.mp4"), cv2.CAP_FFMPEG)
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 36
    about = json.loads((tmp_path / "one" / "event.json").read_text())
    assert about["ended"] == 1007.0 and about["clip"] == [1004.0, 1007.5] and (tmp_path / "one/thumbnail.jpg").is_file()


def test_nothing_is_kept_where_no_rule_says_so(make: Make, tmp_path: Path) -> None:
    event = _event("one", 0.0)
    event.keeping = None
    with EventRecorder(tmp_path, 5.0, before_s=2.0, by_rule=frozenset({"patch"})) as recorder:
        for frame in range(20):
            recorder.write(make(frame, at=frame / 10, events=(event,), alarms=("patch",)))
    assert list(tmp_path.iterdir()) == []


def test_two_events_at_once_keep_a_frame_once(make: Make, tmp_path: Path) -> None:
    events = _event("one", 0.0), _event("two", 0.0)
    with EventRecorder(tmp_path, 0.0) as recorder:
        for frame in range(10):
            recorder.write(make(frame, at=frame / 10, events=events))
    one, two = (tmp_path / name / "000000005.jpg" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes() and one.stat().st_ino == two.stat().st_ino


def test_events_go_after_their_time(make: Make, tmp_path: Path) -> None:
    store = EventStore(tmp_path, 10**8)
    begun = "2026-11-29T10-00-00.000Z-"  # as a run names its events
    for name, retain in (("short", 60.0), ("long", 3600.0), ("ever", 0.0)):
        with EventRecorder(store, 0.0) as recorder:
            recorder.write(make(0, at=0.0, events=(_event(begun + name, 0.0, retain=retain),)))
    later = time.monotonic() + 120
    with mock.patch("edgeguard.sinks.event_store.time.monotonic", lambda: later):
        store.clear()
    assert sorted(path.name.removeprefix(begun) for path in tmp_path.iterdir()) == ["ever", "long"]
    in_two_hours = time.time() + 7200
    with mock.patch("edgeguard.sinks.event_store.time.time", lambda: in_two_hours):
        EventStore(tmp_path, 10**8)  # another run
    assert [path.name.removeprefix(begun) for path in tmp_path.iterdir()] == ["ever"]


def test_a_clock_that_was_set_back_does_not_make_the_newest_the_first_to_go(make: Make, tmp_path: Path) -> None:
    received = make(0).received
    assert received is not None and received.jpeg is not None
    store = EventStore(tmp_path, 7 * len(received.jpeg))
    for number, stamp in enumerate(("2026-05", "2026-06", "1970-01", "1970-02")):
        with EventRecorder(store, 0.0) as recorder:
            recorder.write(make(number, at=float(number), events=(_event(stamp, float(number)),)))
    kept = {path.name for path in tmp_path.iterdir()}
    assert "1970-02" in kept and "2026-05" not in kept


def test_a_folder_that_cannot_be_written_stops_recording_only(make: Make, tmp_path: Path) -> None:
    with EventRecorder(tmp_path, 0.0) as recorder:
        recorder.write(make(0, at=0.0, events=(_event("one", 0.0),)))
        with mock.patch("edgeguard.sinks.recorder.write_bytes", side_effect=OSError(28, "No space left on device")):
            with pytest.raises(DeviceError, match="cannot record in .*: No space left on device"):
                recorder.write(make(1, at=0.1, events=(_event("one", 0.0),)))
        recorder.write(make(2, at=0.2, events=(_event("two", 0.2),)))
    assert _frames(tmp_path / "two") == [0, 2] or _frames(tmp_path / "two")[-1] == 2


CHILD = """
import sys, time
from pathlib import Path
from edgeguard.pipeline.event import Event, Keeping
from edgeguard.run.runner import run
from edgeguard.run.settings import Settings
from edgeguard.camera import open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.model import load_model
from edgeguard.watch.rules import EventRule, Rules
rules = Rules(events=(EventRule("any", score=0.0, frames=1, record=True, hold=60.0),))
settings = Settings(source="x", record=sys.argv[1], rules=rules)
run(settings, load_model(bundled_model()), lambda: open_source("synthetic:cards?fps=30&width=320&height=240"))
"""


@pytest.mark.full
def test_kill_9_during_a_clip_leaves_whole_files_and_the_next_start_makes_the_film(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*/0*.jpg"))) < 15:
            assert time.monotonic() < deadline and child.poll() is None, "the child records"
            time.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    (event,) = tmp_path.iterdir()
    frames = sorted(event.glob("[0-9]*.jpg"))
    assert len(frames) >= 15 and not (event / "clip.mp4").exists()
    for path in frames:
        read_whole_jpeg(path.read_bytes())
    EventStore(tmp_path, 10**9)
    film = (event / "clip.mp4").read_bytes()
    assert frames[0].read_bytes() in film and not list(event.glob(".*"))
    assert cv2.VideoCapture(str(event / "clip.mp4"), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) >= len(frames) - 1


def test_folders_that_are_no_events_and_links_are_left_alone(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "events", tmp_path / "elsewhere"
    event = "1970-01-01T00-00-00.000Z-patch"
    (folder / "my photographs").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / event).symlink_to(elsewhere)
    for place in (folder / "my photographs", elsewhere):
        (place / ".draft-0123abcd.txt").write_text("precious")
        (place / "event.json").write_text('{"retain_until": 1}')
        (place / "000000001.jpg").write_bytes(bytes(5000))
        (place / "results.jsonl").write_text('{"file": "000000001.jpg", "time": 1, "captured_at": 1}')
    store = EventStore(folder, quota_bytes=100)
    store.clear()
    assert store.events() == []
    for place in (folder / "my photographs", elsewhere):
        assert sorted(path.name for path in place.iterdir()) == [
            ".draft-0123abcd.txt", "000000001.jpg", "event.json", "results.jsonl"
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["event.json", "results.jsonl", "000000001.jpg"])
def test_pipes_and_links_in_an_event_are_not_read(tmp_path: Path, name: str) -> None:
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    (event / "event.json").write_text("{}")
    (event / "results.jsonl").write_text('{"file": "000000001.jpg", "time": 1, "captured_at": 1}\n')
    (tmp_path / "secret").write_bytes(b"secret of another file")
    (event / name).unlink(missing_ok=True)
    if name.endswith(".jpg"):
        (event / name).symlink_to(tmp_path / "secret")
    else:
        os.mkfifo(event / name)
    store = EventStore(tmp_path, quota_bytes=10**8)
    assert [found["id"] for found in store.events()] == [event.name]
    assert not (event / "clip.mp4").exists() or b"secret" not in (event / "clip.mp4").read_bytes()


def test_a_frame_that_is_named_a_thousand_times_is_in_the_film_once(tmp_path: Path) -> None:
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    good, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert good
    (event / "000000001.jpg").write_bytes(data.tobytes())
    line = '{"file": "000000001.jpg", "time": %d, "captured_at": 1}\n'
    (event / "results.jsonl").write_text("".join(line % second for second in range(1000)) + "[" * 100_000 + "\n")
    (event / "event.json").write_text("{}")
    EventStore(tmp_path, quota_bytes=10**8)
    assert len(data) < (event / "clip.mp4").stat().st_size < 2 * len(data) + 2000


def test_films_of_a_strangers_events_do_not_keep_a_run_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """100 PNGs of 64 megapixels (0.9 MB each) took minutes, without a word."""
    for number in range(3):
        event = tmp_path / f"1970-01-01T00-00-0{number}.000Z-patch"
        event.mkdir()
        (event / "event.json").write_text("{}")
        (event / "000000001.png").write_bytes(write_png(np.zeros((64, 64, 3), np.uint8)))
        (event / "results.jsonl").write_text('{"file": "000000001.png", "time": 1, "captured_at": 1}\n')
    monkeypatch.setattr("edgeguard.sinks.event_store._FILMS_WITHIN_S", 0.0)
    EventStore(tmp_path, quota_bytes=10**8)
    assert not list(tmp_path.glob("*/clip.mp4*")) and not list(tmp_path.glob("*/.*"))
    assert "3 events of earlier runs stay without a film" in caplog.text
    monkeypatch.undo()
    EventStore(tmp_path, quota_bytes=10**8)
    assert len(list(tmp_path.glob("*/clip.mp4"))) == 3


def test_of_a_file_of_results_so_many_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 MB of short lines took 1.7 GB and two minutes of a page's worker."""
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    line = '{"file": "000000001.jpg", "time": 1, "captured_at": 1}'
    (event / "results.jsonl").write_text(f"{line[:-1]}{' ' * 200}}}\n" + f"{line}\n" * 20)
    monkeypatch.setattr("edgeguard.sinks.event_store._MOST_LINES", 10)
    monkeypatch.setattr("edgeguard.sinks.event_store._LONGEST_LINE", 200)
    assert len(EventStore(tmp_path, quota_bytes=10**8).frames(event.name)) == 9


@pytest.mark.parametrize("time_of", ["1e300", "-1e300", '"x"', "null", "1e999", "9" * 400])
def test_times_of_a_stranger_end_no_start(tmp_path: Path, time_of: str) -> None:
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    good, data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    assert good
    lines = []
    for number, at in enumerate(("1", time_of, "2")):
        (event / f"00000000{number}.jpg").write_bytes(data.tobytes())
        lines.append(f'{{"file": "00000000{number}.jpg", "time": {at}, "captured_at": 1}}\n')
    (event / "results.jsonl").write_text("".join(lines))
    (event / "event.json").write_text(f'{{"retain_until": {time_of}}}')
    store = EventStore(tmp_path, quota_bytes=10**8)
    over = time_of == "-1e300"  # it has stayed long enough
    assert [found["id"] for found in store.events()] == ([] if over else [event.name])


def test_a_frame_of_an_event_of_somebody_else_is_bounded(tmp_path: Path) -> None:
    """The film of an event that a killed run left is made of its frames; one has 67 megapixels."""
    event = tmp_path / "2026-01-01T00-00-00.000Z-mine"
    event.mkdir()
    (event / "event.json").write_text("{}")
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((8_200, 8_200), np.uint8)
    for number, picture in enumerate((small, large)):
        cv2.imwrite(str(event / f"{number:09}.png"), picture)
    lines = [{"file": f"{number:09}.png", "time": number, "captured_at": number} for number in range(2)]
    (event / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with mock.patch("cv2.imdecode", wraps=cv2.imdecode) as decode:
        EventStore(tmp_path, 1 << 30)
    assert decode.call_count == 1 and (event / "clip.mp4").is_file()


def test_events_of_earlier_runs_are_read_once(tmp_path: Path) -> None:
    """A begin and an end took two seconds each beside three thousand of them."""
    for number in range(200):
        event = tmp_path / f"2026-11-29T10-00-00.{number:03}Z-alarm"
        event.mkdir()
        (event / "000000000.jpg").write_bytes(b"x" * 10)
    store = EventStore(tmp_path, 10**9)
    read = mock.Mock(wraps=event_store._size_and_end)
    with mock.patch.object(event_store, "_size_and_end", read):
        for number in range(5):
            path = store.begin(f"2026-11-30T10-00-00.{number:03}Z-alarm")
            (path / "000000000.jpg").write_bytes(b"y" * 10)
            store.add(path, 10)
            store.end(path)
    assert read.call_count == 5
    shutil.rmtree(tmp_path / "2026-11-29T10-00-00.000Z-alarm")  # by the user
    store.quota_bytes = 100 * 10
    store.clear()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 100 and left[-1] == "2026-11-30T10-00-00.004Z-alarm"


def test_a_start_beside_countless_events_ends(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_store, "_FILMS_WITHIN_S", -1.0)
    monkeypatch.setattr(event_store, "_MANY", 10)
    for number in range(20):
        event = tmp_path / f"2026-11-29T10-00-00.{number:03}Z-rule"
        event.mkdir()
        if number % 2:  # those of alarms get no film, and lack none
            (event / "event.json").write_text("{}")
    EventStore(tmp_path, 10**9)
    assert said[0].endswith("holds 20 events of earlier runs, which are looked through")
    assert said[1].startswith("10 events of earlier runs stay without a film")


def _written(store: EventStore, name: str, frames: int, size: int) -> Path:
    path = store.begin(name)
    for number in range(frames):
        (path / f"{number:09d}.jpg").write_bytes(b"x" * size)
        store.add(path, size)
    return path


def test_two_processes_keep_one_quota(tmp_path: Path) -> None:
    """The sizes of the other one's events were read once, when they began: together they took twice the quota."""
    day, later = "2026-11-30T10-00-00.000Z-", "2026-11-30T11-00-00.000Z-"
    with mock.patch.object(event_store, "_LOOK_S", 0.0):
        one, two = EventStore(tmp_path, 10_000), EventStore(tmp_path, 10_000)
        theirs = two.begin(day + "theirs")
        ended = _written(one, day + "ended", 3, 1000)
        one.end(ended)
        for number in range(6):
            (theirs / f"{number:09d}.jpg").write_bytes(b"y" * 1000)
            two.add(theirs, 1000)
        ours = one.begin(later + "ours")
        full = []
        for number in range(6):
            (ours / f"{number:09d}.jpg").write_bytes(b"x" * 1000)
            full.append(one.add(ours, 1000))
    assert not ended.exists(), "the oldest that nobody writes goes"
    assert len(list(theirs.iterdir())) == 6, "what another process writes stays"
    assert full == [False] * 4 + [True] * 2, "and where nothing can go, the event ends"
    two.end(theirs)
    one.clear()
    assert not theirs.exists() and ours.exists()


def test_a_link_in_an_event_counts_as_a_link(tmp_path: Path) -> None:
    """Somebody's event with a link to a large file made all other events go."""
    (tmp_path / "large").write_bytes(b"x" * 10_000)
    events = tmp_path / "events"
    for name in ("2026-11-30T10-00-00.000Z-old", "2026-11-30T10-00-00.001Z-theirs"):
        (events / name).mkdir(parents=True)
        (events / name / "000000000.jpg").write_bytes(b"x" * 100)
    (events / name / "000000001.jpg").symlink_to(tmp_path / "large")
    EventStore(events, 5000)
    assert len(list(events.iterdir())) == 2


def _with_frames(folder: Path, name: str, sizes: list[int]) -> Path:
    """An event with frames, the first a picture and the others holes."""
    event = folder / name
    event.mkdir(parents=True)
    lines = [{"file": f"{number:09d}.jpg", "captured_at": number} for number in range(len(sizes))]
    (event / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (event / "event.json").write_text("{}")
    for line, size in zip(lines, sizes, strict=True):
        with open(event / str(line["file"]), "wb") as file:
            file.write(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes() if not size else b"")
            file.truncate(size or file.tell())
    return event


def test_holes_take_no_room(tmp_path: Path) -> None:
    """Somebody's event with a terabyte that holds nothing made all other events go."""
    ours = _with_frames(tmp_path, "2026-11-29T10-00-00.000Z-old", [0])
    theirs = _with_frames(tmp_path, "2026-11-30T10-00-00.000Z-theirs", [0])
    with open(theirs / "clip.mp4", "wb") as file:
        file.truncate(1 << 40)
    store = EventStore(tmp_path, 1 << 20)
    assert ours.is_dir() and theirs.is_dir()
    assert store.file(ours.name, "clip.mp4") is not None
    assert store.file(theirs.name, "clip.mp4") is None, "six readers of it would keep us busy for hours"


def test_frames_of_holes_fill_no_disk(tmp_path: Path) -> None:
    """Two hundred megabytes that take no room were written into the film, each."""
    event = _with_frames(tmp_path, "2026-11-30T10-00-00.000Z-theirs", [0, 50 << 20, 50 << 20])
    EventStore(tmp_path, 1 << 20)
    assert (event / "clip.mp4").stat().st_size < 10_000


def test_an_event_that_cannot_be_kept_takes_no_other_with_it(tmp_path: Path) -> None:
    ours = _with_frames(tmp_path, "2026-11-29T10-00-00.000Z-old", [0])
    theirs = _with_frames(tmp_path, "2026-11-30T10-00-00.000Z-theirs", [0])
    (theirs / "000000001.jpg").write_bytes(b"x" * 2_000_000)
    EventStore(tmp_path, 1 << 20)
    assert ours.is_dir() and not theirs.exists()


def test_what_a_strangers_event_says_of_itself_is_no_more_than_events_say(tmp_path: Path) -> None:
    """Two hundred of 64 kB in lists took 384 MB of memory for each page that asked; a score that is a text broke it."""
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    told = {"camera": "hall", "score": "x", "index": True, "began": 5, "zone": None, "clip": [1, 2.5], "more": [[]] * 9}
    (event / "event.json").write_text(json.dumps(told))
    store = EventStore(tmp_path, quota_bytes=10**8)
    said = {"camera": "hall", "began": 5, "zone": None, "clip": [1, 2.5]}
    assert store.events() == [{**said, "id": event.name, "film": False, "thumbnail": False}]
    (event / "event.json").write_text('{"camera": "hall", "more": [' + "[]," * 6000 + "[]]}")
    assert store.events() == [{"id": event.name, "film": False, "thumbnail": False}]


def test_results_are_not_read_at_once(tmp_path: Path) -> None:
    """Six pages that asked for the frames of one event of 250 MB took 1.5 GB."""
    event = tmp_path / "1970-01-01T00-00-00.000Z-patch"
    event.mkdir()
    line = '{"file": "000000001.jpg", "time": 1, "captured_at": 1, "more": "' + "x" * 400_000 + '"}\n'
    (event / "results.jsonl").write_text(line * 50 + "x" * 20_000_000 + "\n" + line)
    store = EventStore(tmp_path, quota_bytes=10**8)
    tracemalloc.start()
    assert len(store.frames(event.name)) == 51
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()
