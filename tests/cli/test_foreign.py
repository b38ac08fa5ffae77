"""Foreign .tflite files through the commands: a line and an exit code, whatever the graph does."""

import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli.launch import LAUNCH, refused, run
from commands import here
from model import crafted

DARK, BRIGHT = 0, 255


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png and c.png are black; of b.png one pixel is as the hostile graphs want it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, value in (("a", DARK), ("b", 1), ("c", DARK)):
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[0, 0, 2] = value
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


def _file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(crafted.with_contract(data))
    return path


@pytest.mark.convert
@pytest.mark.parametrize("isolate", ["auto", "always"])
def test_a_frame_that_kills_the_graph_is_lost_and_the_run_goes_on(tmp_path: Path, photos: Path, isolate: str) -> None:
    done = here("run", _file(tmp_path, crafted.divides()), "--source", photos, "--isolate", isolate)
    assert done.returncode == 1, done.stderr
    why = "it has the operator FLOOR_MOD" if isolate == "auto" else "so it was chosen"
    assert f"the model runs in a watched process of its own: {why}" in done.stderr
    assert "frame 1 of b.png is lost: the runtime crashes on the model (SIGFPE)" in done.stderr
    assert "2 frames, 0 dropped, 1 lost" in done.stderr and "bug" not in done.stderr


@pytest.mark.convert
def test_a_harmless_graph_answers_alike_in_every_process(tmp_path: Path, photos: Path) -> None:
    path = _file(tmp_path, crafted.harmless())
    answers = set()
    for isolate in ("auto", "always", "never"):
        results = tmp_path / f"{isolate}.jsonl"
        done = here("run", path, "--source", photos, "--isolate", isolate, "--output", results)
        assert done.returncode == 0, done.stderr
        assert ("process of its own" in done.stderr) == (isolate == "always")
        answers.add(tuple(line.split('"top"')[1].split('"ms"')[0] for line in results.read_text().splitlines()))
    assert len(answers) == 1


@pytest.mark.convert
@pytest.mark.parametrize("command", ["bench", "evaluate", "fieldtest plan", "patch make", "run"])
def test_the_same_line_everywhere(tmp_path: Path, photos: Path, command: str) -> None:
    """PAD by constants to gigabytes: every operator is a usual one, so only the trial can tell."""
    path = _file(tmp_path, crafted.huge())
    (photos / "labels.csv").write_text("a.png,0\n")
    every: dict[str, list[object]] = {
        "run": ["--source", photos],
        "bench": ["--seconds", "0.1"],
        "evaluate": ["--images", photos, "--output", tmp_path / "audit"],
        "fieldtest plan": ["--model", path],
        "patch make": ["--output", tmp_path / "patch", "--untargeted"],
    }
    place = [path]
    if command == "fieldtest plan":
        place = [tmp_path / "session", tmp_path / "sheet.pdf"]
        assert here("patch", "sheet", "--card", "stop", "--arm", "clean", "--output", place[1]).returncode == 0
    refused(here(*command.split(), *place, *every[command]), 2, "foreign.tflite: the runtime")


@pytest.mark.convert
def test_what_costs_too_much_to_read(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(crafted.shared_name())
    for words in (["run", path, "--source", photos], ["model", "show", path], ["bench", path]):
        refused(here(*words), 2, "costs too much to read")


@pytest.mark.convert
@pytest.mark.parametrize(("isolate", "code"), [("auto", 0), ("never", 3)])
@pytest.mark.full
def test_sigterm_ends_a_run_in_the_middle_of_an_endless_frame(
    tmp_path: Path, photos: Path, isolate: str, code: int
) -> None:
    path = _file(tmp_path, crafted.never_ends())
    words = [*LAUNCH, "run", path, "--source", photos / "b.png", "--isolate", isolate]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "preprocessing" in line or "guard" in line:
            break
    time.sleep(2)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == code and time.monotonic() - began < 10


def test_help_names_the_choices() -> None:
    done = run("run", "--help")
    assert "--isolate" in done.stdout and "auto" in done.stdout
