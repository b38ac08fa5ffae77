import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.model import Prediction, Score
from edgeguard.model.prediction import ClassMap, Keypoint
from edgeguard.pipeline.result import FrameResult
from edgeguard.sinks.jsonl import JsonLines
from edgeguard.sinks.overlay import draw_overlay
from edgeguard.sinks.video import AnnotatedVideo


@pytest.fixture
def result(scene: NDArray[np.uint8]) -> FrameResult:
    return FrameResult(
        frame=3, source="a.jpg", captured_at=12.5, time_source="source", age_ms=None,
        prediction=Prediction((Score("stop", 1, 0.9), Score("yield", 3, 0.1))),
        decode_ms=1.0, sanitize_ms=2.0, infer_ms=3.0, pass1="run", passes=2, certified_share=0.97,
        profile="p" * 64, model="m" * 64, undefended=None, rgb=scene,
    )  # fmt: skip


def test_the_line_has_the_frozen_schema(result: FrameResult) -> None:
    line = json.loads(result.to_json())
    assert line == {
        "schema": 1, "frame": 3, "source": "a.jpg", "captured_at": 12.5, "time_source": "source", "age_ms": None,
        "label": "stop", "index": 1, "score": 0.9,
        "top": [{"label": "stop", "index": 1, "score": 0.9}, {"label": "yield", "index": 3, "score": 0.1}],
        "ms": {"decode": 1.0, "sanitize": 2.0, "infer": 3.0}, "pass1": "run", "passes": 2, "certified_share": 0.97,
        "profile": "p" * 64, "model": "m" * 64, "undefended": None,
    }  # fmt: skip


def test_a_run_whose_frames_can_be_proven_has_three_keys_more(result: FrameResult) -> None:
    frozen = json.loads(result.to_json())
    for found in ((0.99999, True, False), (1.0, False, True), (None, None, None)):
        share, proven, proven_2 = found
        said = replace(result, certifies=True, certified_share_2=share, proven=proven, proven_2=proven_2)
        more = {"certified_share_2": 0.9999 if share == 0.99999 else share, "proven": proven, "proven_2": proven_2}
        assert json.loads(said.to_json()) == {**frozen, **more}
    assert json.loads(replace(result, certified_share=0.99996).to_json())["certified_share"] == 0.9999


def test_lines_are_there_at_once_and_appended(tmp_path: Path, result: FrameResult) -> None:
    path = tmp_path / "r.jsonl"
    for _ in range(2):
        with JsonLines(str(path)) as sink:
            sink.write(result)
            assert path.read_text().endswith("}\n")
    assert len(path.read_text().splitlines()) == 2


def test_full_disk_and_missing_folder(tmp_path: Path, result: FrameResult) -> None:
    with JsonLines("/dev/full") as sink, pytest.raises(DeviceError, match="No space left"):
        sink.write(result)
    with pytest.raises(DeviceError, match="No such file"):
        JsonLines(str(tmp_path / "no/such/r.jsonl"))


def test_a_disk_that_fills_up_leaves_whole_lines(
    tmp_path: Path, result: FrameResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.jsonl"
    with JsonLines(str(path)) as sink:
        sink.write(result)
        real = sink._stream
        assert real is not None

        class Short:
            """Takes half a line, as a disk with little room does."""

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def write(self, data: bytes) -> int:
                assert real is not None
                return real.write(data[: len(data) // 2])

        monkeypatch.setattr(sink, "_stream", Short())
        with pytest.raises(DeviceError, match="before this one are kept"):
            sink.write(result)
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == [3]


def test_video_appears_at_the_end_with_every_frame(tmp_path: Path, result: FrameResult) -> None:
    path = tmp_path / "v.mp4"
    with AnnotatedVideo(path, 10) as sink:
        for _ in range(5):
            sink.write(result)
        assert not path.exists()
    reader = cv2.VideoCapture(str(path))
    assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 5 and reader.read()[0]
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_video_is_kept_when_the_source_is_lost(tmp_path: Path, result: FrameResult) -> None:
    path = tmp_path / "v.mp4"
    with pytest.raises(DeviceError, match="gone"), AnnotatedVideo(path, 10) as sink:
        sink.write(result)
        raise DeviceError("gone")
    assert path.is_file()


_RECORDS = """
import sys, time
from pathlib import Path
import numpy as np
from edgeguard.sinks import video
noise = np.random.randint(0, 50, (480, 640, 3), np.uint8)
video.draw_overlay = lambda number: noise + np.uint8(number % 200)
with video.AnnotatedVideo(Path(sys.argv[1]), 15.0) as sink:
    for number in range(10_000):
        sink.write(number)
        print(number, flush=True)
"""


def test_a_killed_runs_video_plays_up_to_the_cut_and_goes_with_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with subprocess.Popen([sys.executable, "-c", _RECORDS, str(path)], stdout=subprocess.PIPE) as recorder:
        assert recorder.stdout is not None
        for _ in range(100):
            recorder.stdout.readline()
        recorder.kill()
        written = 100 + len(recorder.stdout.read().splitlines())
    (partial,) = tmp_path.iterdir()
    reader, frames = cv2.VideoCapture(str(partial), cv2.CAP_FFMPEG), 0
    while reader.read()[0]:
        frames += 1
    assert not path.exists() and written - 40 <= frames <= written
    AnnotatedVideo(path)
    assert list(tmp_path.iterdir()) == []


def test_half_a_line_of_a_killed_run_is_no_result(tmp_path: Path, result: FrameResult) -> None:
    path, note = tmp_path / "r.jsonl", tmp_path / "note.txt"
    whole = f"{result.to_json()}\n".encode()
    for cut in (1, 200, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        with JsonLines(str(path)) as sink:
            sink.write(result)
        text = path.read_bytes()
        assert text == whole * 2 or (cut < 10 and text == whole + whole[:cut] + b"\n" + whole)
    note.write_bytes(b"somebody's note")
    with pytest.raises(InputError, match="holds no results"):
        JsonLines(str(note))
    assert note.read_bytes() == b"somebody's note"


def test_a_folder_is_no_file_of_results(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"Is a directory \(results go into one file, such as results.jsonl\)"):
        JsonLines(str(tmp_path))


def test_video_in_a_missing_folder(tmp_path: Path, result: FrameResult) -> None:
    with pytest.raises(DeviceError, match="cannot write"), AnnotatedVideo(tmp_path / "no/v.mp4") as sink:
        sink.write(result)


def test_overlay_shows_disagreement_in_red(result: FrameResult) -> None:
    calm = draw_overlay(replace(result, undefended=Score("stop", 1, 0.5)))
    alarm = draw_overlay(replace(result, undefended=Score("left", 6, 0.5)))
    assert calm.shape == alarm.shape and calm.shape[0] % 2 == calm.shape[1] % 2 == 0 and calm.shape[1] >= 480
    assert tuple(alarm[1, 1]) == (230, 60, 50) != tuple(calm[1, 1])


def test_overlay_tints_class_maps_and_marks_keypoints(result: FrameResult) -> None:
    assert result.rgb is not None
    height, width = result.rgb.shape[:2]
    plain = draw_overlay(result)
    classes = np.zeros((4, 4), np.int64)
    classes[:, :2] = 3
    seen = ClassMap(classes, 0, 0, width, height)
    tinted = draw_overlay(replace(result, prediction=replace(result.prediction, class_map=seen)))
    scale = plain.shape[1] // width
    left, right = slice(0, scale * width // 2 - 2), slice(scale * width // 2 + 2, scale * width)
    assert (tinted[: scale * height, left] != plain[: scale * height, left]).any(axis=2).mean() > 0.9
    assert np.array_equal(tinted[: scale * height, right], plain[: scale * height, right])
    points = (Keypoint("nose", 0, 0.9, 40.0, 30.0), Keypoint("ear", 1, 0.1, 90.0, 30.0))
    marked = draw_overlay(replace(result, prediction=replace(result.prediction, keypoints=points)))
    changed = np.argwhere((marked != plain).any(axis=2))
    assert np.abs(changed - (scale * 30, scale * 40)).max() <= 6 and len(changed) > 20
