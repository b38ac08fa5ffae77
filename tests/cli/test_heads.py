"""Detectors and other heads from elsewhere through the commands: what is said, the JSON lines, the exit codes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

from model.made_models import Out, anchors, made_model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png is gray, b.png white; 1280x720 in small."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, level in (("a", 120), ("b", 255)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((72, 128, 3), level, np.uint8))
    return folder


def _file(tmp_path: Path, *outputs: Out) -> Path:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(made_model(outputs, (64, 64)))
    return path


def _yolo() -> Out:
    table = np.full((84, 7), 0.01, np.float32)
    table[:, :4] = anchors(64, 64)
    table[12, :4], table[12, 6] = (0.5, 0.5, 0.5, 0.25), 0.9
    return Out(table.T[None])


@pytest.mark.parametrize(
    ("crop", "box", "share"),
    [
        (None, (32, 27, 96, 45), "crop none: 100% of a 128x72 frame is in use"),
        ("letterbox", (32, 20, 96, 52), "crop letterbox: 100%"),
        ("center", (48.25, 28, 79.75, 44), "crop center: 43%"),
    ],
)
def test_a_yolo_file_runs_as_it_is(
    crop: str | None, box: tuple[float, ...], share: str, photos: Path, tmp_path: Path
) -> None:
    words = () if crop is None else ("--crop", crop)
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nbird\n")
    lines = tmp_path / "out.jsonl"
    done = here(
        "run", _file(tmp_path, _yolo()), "--source", photos, "--labels", names, "--output", lines, "--isolate", "never",
        *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert share in done.stderr and "boxes are read as cxcywh in relative from a joined head" in done.stderr
    first = json.loads(lines.read_text().splitlines()[0])
    assert first["label"] == "bird" and len(first["boxes"]) == 1
    found = first["boxes"][0]
    assert (found["x1"], found["y1"], found["x2"], found["y2"]) == pytest.approx(box, abs=0.8)


def test_frames_that_are_misread_end_in_exit_two(photos: Path, tmp_path: Path) -> None:
    boxes = Out([[[0.1, 0.1, 0.5, 0.5]] * 10])
    scores = Out([[0.3] * 10], per_level=0.003)  # 1.065 for white
    file = _file(tmp_path, scores, boxes, Out([10.0]), Out([[3.0] * 10]))
    done = here("run", file, "--source", photos, "--isolate", "never", "--json")
    assert done.returncode == 2
    assert "what the model said of 1 frames is no result of its task, the first: a score is 1.06" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["lost"], summary["misread"]) == (1, 1, 1)


def test_shares_and_keypoints_in_the_line_and_the_video(photos: Path, tmp_path: Path) -> None:
    scores = np.zeros((1, 8, 8, 5), np.float32)
    scores[0, :2, :, 4], scores[0, 2:, :, 0] = 1, 1
    rows = np.full((1, 1, 17, 3), 0.5, np.float32)
    for output, key in ((Out(scores), "shares"), (Out(rows), "keypoints")):
        lines, video = tmp_path / f"{key}.jsonl", tmp_path / f"{key}.mp4"
        done = here(
            "run", _file(tmp_path, output), "--source", photos, "--output", lines, "--save", video, "--isolate", "never"
        )
        assert done.returncode == 0, done.stderr
        first = json.loads(lines.read_text().splitlines()[0])
        if key == "shares":
            assert first["shares"] == [
                {"label": "0", "index": 0, "share": 0.75}, {"label": "4", "index": 4, "share": 0.25},
            ]  # fmt: skip
            assert first["top"][0]["score"] == first["score"] == 0.75
        else:
            assert first["label"] == "pose" and first["keypoints"][0]["name"] == "nose"
            assert (first["keypoints"][0]["x"], first["keypoints"][0]["y"]) == (64, 36)
        assert video.stat().st_size > 0


def test_what_is_no_task_is_refused_alike(photos: Path, tmp_path: Path) -> None:
    file = _file(tmp_path, Out(np.ones((1, 64, 64, 1))))
    for words in (
        ("run", file, "--source", photos),
        ("bench", file),
        ("evaluate", file, "--images", photos, "--output", tmp_path),
    ):
        done = here(*words)
        assert done.returncode == 2 and "looks like a map of numbers, as of depth" in done.stderr, done.stderr
    shown = here("model", "show", file)
    assert shown.returncode == 0 and "looks like     nothing that runs here: its output (64x64x1)" in shown.stdout
    detector = here("model", "show", _file(tmp_path, _yolo()))
    assert "looks like     nothing that runs here" not in detector.stdout and "detect, 0 labels" in detector.stdout
