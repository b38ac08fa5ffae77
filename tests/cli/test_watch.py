"""Tracks, zones and rules through the commands."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli.test_heads import _file, _yolo
from commands import here
from sinks.published import fits

pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

RULES = """
[[zone]]
name = "middle"
points = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.95], [0.1, 0.95]]
[[event]]
name = "bird"
label = "bird"
zone = "middle"
frames = 2
record = true
"""


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (128, 72))
    for level in range(100, 160, 10):
        writer.write(np.full((72, 128, 3), level, np.uint8))
    writer.release()
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\n")
    return path


def test_a_film_is_tracked(film: Path, tmp_path: Path) -> None:
    lines, config = tmp_path / "tracks.jsonl", tmp_path / "rules.toml"
    config.write_text(RULES)
    detector = _file(tmp_path, _yolo())
    done = here(
        "run", detector, "--source", film, "--track", "--output", lines, "--labels", tmp_path / "names.txt",
        "--config", config, "--record", tmp_path / "events", "--isolate", "never",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in lines.read_text().splitlines()]
    for result in results:
        fits("result", result)
    assert len(results) == 6 and {box["track"] for result in results for box in result["boxes"]} == {1}
    assert results[-1]["zones"]["middle"]["objects"] == {"bird": 1}
    assert results[-1]["zones"]["middle"]["in"] == {"bird": 1}
    assert "events" not in results[0] and len(results[1]["events"]) == 1
    (event,) = (tmp_path / "events").iterdir()
    assert event.name == results[1]["events"][0] and len(list(event.glob("0*.jpg"))) == 6
    about = json.loads((event / "event.json").read_text())
    fits("event", about)
    assert (about["rule"], about["zone"], about["track"], about["frame"]) == ("bird", "middle", 1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[event]]\nname = 'e'\nlabel = 'unicorn'\n", "[[event]]: the model has no class 'unicorn'; it has 'cat', "),
        ("[[event]]\nname = 'e'\nrecord = true\n", "[[event]] 'e': record wants a folder"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1, 1], [1, 0], [0, 1]]\n", "rules.toml:3: points crosses itself"),
    ],
)
def test_rules_that_cannot_be(film: Path, tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "rules.toml"
    config.write_text(text)
    words = ("--source", film, "--labels", tmp_path / "names.txt", "--config", config, "--isolate", "never")
    done = here("run", _file(tmp_path, _yolo()), *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_cameras_take_the_place_of_a_source(film: Path, tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text("".join(f"[[camera]]\nname = '{name}'\nsource = '{film}'\n" for name in ("a", "b")))
    checked = here("config", "check", config)
    assert checked.returncode == 0 and "4 values, all known and within bounds, 2 cameras" in checked.stdout
    refused = here("run", "--config", config, "--source", film)
    assert refused.returncode == 2 and "the configuration has tables [[camera]]" in refused.stderr
    done = here("run", "--config", config, "--json", "--output", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    assert {name: one["frames"] for name, one in json.loads(done.stdout).items()} == {"a": 6, "b": 6}
    cameras = [json.loads(line)["camera"] for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted(cameras) == ["a"] * 6 + ["b"] * 6


@pytest.mark.parametrize(("frames", "said"), [(1, "event sign: "), (2, "never 2 in a row (frames = 2)")])
def test_the_summary_counts_events_and_says_why_there_are_none(frames: int, said: str, tmp_path: Path) -> None:
    """Each frame of this source shows another card."""
    config = tmp_path / "rules.toml"
    config.write_text(f'[[event]]\nname = "sign"\nlabel = "stop"\nframes = {frames}\nhold = 0.1\n')
    run = ("run", "--source", "synthetic:cards?fps=120&width=240&height=180", "--config", config, "--frames", 40)
    done = here(*run)
    assert done.returncode == 0 and said in done.stderr, done.stderr
    assert ("event sign: stop" in done.stderr) == (frames == 1)
    counted = json.loads(here(*run, "--json").stdout)["events"]["sign"]
    assert (counted > 0) == (frames == 1)
