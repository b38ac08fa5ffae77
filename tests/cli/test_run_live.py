"""`run` on live sources, its configuration and its service, from outside."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from camera.faulty import FaultyCamera
from cli.launch import LAUNCH, refused, run
from commands import here
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, encode_jpeg

LIVE = "synthetic:cards?fps=30&width=160&height=120"


@pytest.fixture
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    return [encode_jpeg(scene, GuardProfile.preset("fd-jpeg")) for scene in scenes[:3]]


def test_a_number_of_results_of_a_live_source(tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    done = run("run", "--source", LIVE, "--frames", 5, "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    summary, lines = json.loads(done.stdout), output.read_text().splitlines()
    assert summary["frames"] == len(lines) == 5 and summary["age_ms"]["p95"] > 0
    assert summary["sinks"] == [{"name": "output", "written": 5, "dropped": 0, "failure": None}]


def test_a_dead_sink_is_said_and_makes_the_exit_code(tmp_path: Path) -> None:
    done = run("run", "--source", LIVE, "--frames", 8, "--output", "/dev/full", "--record", tmp_path / "events")
    refused(done, 3, "output: cannot write /dev/full: No space left")
    assert done.stderr.count("its results are dropped and counted") == 1 and "8 frames" in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [*LAUNCH, "run", "--source", LIVE, "--output", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and json.loads(process.stdout.readline())["schema"] == 1
    process.stdout.close()
    assert process.wait(30) == 0


@pytest.mark.parametrize("mode", ["good", "stall"])
def test_sigterm_ends_it_cleanly_with_a_camera_and_without(jpegs: list[bytes], tmp_path: Path, mode: str) -> None:
    output = tmp_path / "r.jsonl"
    with FaultyCamera(jpegs) as camera:
        command = [*LAUNCH, "run", "--source", camera.url, "--output", str(output), "--lost-after", "0.5"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while (not output.exists() or not output.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        camera.mode = mode
        time.sleep(1.2)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=15)
    assert process.returncode == 0, said
    assert ("camera lost" in said) == (mode == "stall") and "frames/s" in said
    assert all(json.loads(line)["pass1"] == "none" for line in output.read_text().splitlines())


def test_a_source_that_is_mistyped_is_found_before_anything_runs(tmp_path: Path) -> None:
    config = tmp_path / "mistyped.toml"
    for source, said in (
        ("syntetic:cards", "do you mean synthetic:cards?"),
        ("htp://camera/stream", "a source of htp:// is not known"),
    ):
        config.write_text(f'[camera]\nsource = "{source}"\n', encoding="utf-8")
        refused(here("config", "check", config), 2, said)
        unit = tmp_path / "edgeguard.service"
        refused(here("service", "install", "--config", config, "--unit", unit, "--no-start"), 2, said)
        assert not unit.exists()
    config.write_text('[camera]\nsource = "film:of today.mp4"\n', encoding="utf-8")
    assert here("config", "check", config).returncode == 0


def test_a_file_of_settings(tmp_path: Path) -> None:
    config = tmp_path / "edgeguard.toml"
    config.write_text(f'[camera]\nsource = "{LIVE}"\n[pipeline]\nframes = 3\n[output]\noutput = "{tmp_path}/r.jsonl"\n')
    config.chmod(0o444)
    assert run("run", "--config", config).returncode == 0
    assert run("run", "--config", config, "--frames", 2).returncode == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 5
    assert "3 values, all known" in here("config", "check", config).stdout
    shown = json.loads(here("config", "show", config, "--json").stdout)
    assert shown["frames"] == {"value": 3, "from": "file"} and shown["every"] == {"value": 1, "from": "default"}
    text = here("config", "show", config).stdout
    assert "# file" in text and "[recorder]" in text
    assert re.search(r"^# size = +# .*WIDTHxHEIGHT", text, re.M), "a key without a value says what it is"
    copy = tmp_path / "copy.toml"
    copy.write_text(text)
    assert here("config", "check", copy).returncode == 0
    copy.write_text("[camera]\nsorce = '0'\n")
    for command in (("config", "check", copy), ("run", "--config", copy)):
        refused(here(*command), 2, "copy.toml:2: [camera] has no key 'sorce'")
    refused(here("run", "--config", tmp_path / "none.toml"), 2, "cannot read")


def test_a_service(tmp_path: Path) -> None:
    config, unit = tmp_path / "edgeguard.toml", tmp_path / "edgeguard.service"
    config.write_text('[camera]\nsource = "0"\n')
    done = run("service", "install", "--config", config, "--unit", unit, "--no-start")
    assert done.returncode == 0 and "systemctl enable --now" in done.stdout and "WatchdogSec" in unit.read_text()
    refused(here("service", "install", "--config", tmp_path / "none", "--unit", unit), 2, "is not there")


def test_bad_flags_of_each_sink_and_source() -> None:
    for arguments, code, said in (
        (("--web", "0.0.0.0:0"), 2, "give --web-token-file"),
        (("--web", "localhost"), 2, "wants HOST:PORT"),
        (("--metrics", "127.0.0.1:1"), 3, "cannot serve metrics") if os.geteuid() else (("--metrics", "x"), 2, "wants"),
        (("--mqtt", "http://x"), 2, "wants mqtt://"),
        (("--region", "1"), 2, "a region is"),
        (("--drop", "all"), 2, "is one of oldest"),
        (("--record", "/dev/null/x"), 3, "cannot record events"),
        (("--delegate", "gpu"), 2, "is one of auto"),
    ):
        refused(here("run", "--source", LIVE, *arguments), code, said)
    refused(here("run", "--source", "rtsp://127.0.0.1:1/x"), 3, "refuses the connection: nothing listens on port 1")
    refused(here("run", "--source", "picamera2:0"), 3, "a Pi camera needs picamera2")
    refused(here("run", "--source", "synthetic:boats"), 2, "is not known")


def test_a_hostile_model_and_a_missing_coral(tmp_path: Path) -> None:
    broken = tmp_path / "m.tflite"
    broken.write_bytes(bundled_model().read_bytes()[:5000])
    refused(here("run", broken, "--source", LIVE), 2, "m.tflite")
    refused(here("run", "--delegate", "edgetpu", "--source", LIVE), 3, "--fallback PLAIN.tflite")
    command = ("run", "--delegate", "edgetpu", "--fallback", bundled_model(), "--source", LIVE, "--frames", 2)
    done = run(*command)
    assert done.returncode == 0 and "ON THE CPU INSTEAD" in done.stderr
