"""A sample of kills at random instants; `python tests/killed/killed.py --kills 200` is the whole."""

import os
import subprocess
import time
from pathlib import Path

import cv2
import pytest
from cli.launch import LAUNCH
from killed.killed import killed


@pytest.mark.full
def test_kills_of_what_runs_in_the_field(tmp_path: Path) -> None:
    assert len(list(killed(["run", "fieldtest"], 10, 3, tmp_path))) == 2


@pytest.mark.full
@pytest.mark.convert
def test_kills_of_what_runs_on_a_workstation(tmp_path: Path) -> None:
    assert len(list(killed(["evaluate", "train", "convert"], 6, 3, tmp_path))) == 3


@pytest.mark.full
def test_a_service_that_restarts_200_times_fills_no_disk(tmp_path: Path) -> None:
    """Killed in the middle of a video, a line and an event each time."""
    outputs = ("--output", "r.jsonl", "--rotate-mb", "0.2", "--rotate-keep", "2", "--save", "v.mp4")
    record = ("--record", "events", "--record-quota-mb", "2", "--compare", "--alarm-certified", "0.99")
    command = ["run", "--source", "synthetic:cards?fps=60&width=320&height=240", *outputs, *record]
    largest = 0
    for number in range(200):
        with subprocess.Popen(
            [*LAUNCH, *command, "--alarm-window", "2"], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as service:  # fmt: skip
            try:
                service.wait(0.8 + number % 5 * 0.25)
            except subprocess.TimeoutExpired:
                if number == 199:  # on a busy machine it has not begun by then
                    _wait_for_a_video(tmp_path)
                service.kill()
        used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        largest = max(largest, used)
        assert used < 6e6, f"{used} bytes after {number + 1} restarts"
    (video,) = tmp_path.glob(".v-*.ismv")
    assert cv2.VideoCapture(str(video), cv2.CAP_FFMPEG).isOpened() or video.stat().st_size < 300_000
    print(f"at most {largest} bytes in 200 restarts")


def _wait_for_a_video(folder: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and not any(path.stat().st_size for path in folder.glob(".v-*.ismv")):
        time.sleep(0.05)
