"""Real sound: held-out clips of a public set of digits, played into a virtual sound device and heard by `run`.

PulseAudio's null sink is the loudspeaker, its monitor the microphone; PortAudio reaches it through ALSA's pulse plugin
(Debian: pulseaudio, pulseaudio-utils, libasound2-plugins, libportaudio2). The daemon is the test's own.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.launch import LAUNCH, run

pytest.importorskip("soundfile", reason="needs the extra audio")
try:
    import sounddevice  # noqa: F401
except (ImportError, OSError) as error:
    pytest.skip(f"needs sounddevice and PortAudio ({error})", allow_module_level=True)

PROGRAMS = ("pulseaudio", "pactl", "paplay")
pytestmark = [
    pytest.mark.full,
    pytest.mark.convert,
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in PROGRAMS), reason="needs pulseaudio and pulseaudio-utils"
    ),
]


@pytest.fixture
def sound_server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of programs that play and record through a sound server of their own."""
    home = tmp_path / "pulse"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(home), "HOME": str(home), "PULSE_SINK": "virtual",
                   "PULSE_SOURCE": "virtual.monitor", "PULSE_LATENCY_MSEC": "20"}  # fmt: skip
    server = subprocess.Popen(
        ["pulseaudio", "-n", "--exit-idle-time=-1", "-L", "module-native-protocol-unix", "-L",
         "module-null-sink sink_name=virtual rate=8000 channels=1"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            if subprocess.run(["pactl", "info"], env=environment, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the sound server did not start")
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture(scope="module")
def digits(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A model of the digits, and ten clips that it never heard."""
    folder, data = tmp_path_factory.mktemp("digits"), shared / "data" / "fsdd.zip"
    made = run("train", "--task", "audio", "--features", "logmel", "--data", data, "--epochs", 16, "--output", folder)
    assert made.returncode == 0, made.stderr
    made = run("convert", folder / "model.pt2", "--calibrate", data, "--eval", data)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(data) as archive:
        speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
        names = [f"test/{digit}/{speakers[digit % 6]}_{digit % 5}.wav" for digit in range(10)]
        for name in names:
            (folder / Path(name).name.replace("_", f"-{Path(name).parent.name}_")).write_bytes(archive.read(name))
    return folder / "model.tflite", sorted(folder.glob("*.wav"), key=lambda path: path.stem.split("-")[1])


def test_ten_clips_that_are_played_are_heard(
    digits: tuple[Path, list[Path]], sound_server: dict[str, str], tmp_path: Path
) -> None:
    model, clips = digits
    lines = tmp_path / "lines.jsonl"
    command = [*LAUNCH, "run", str(model), "--microphone", "0", "--output", str(lines)]
    listening = subprocess.Popen(command, env=sound_server, stderr=subprocess.PIPE, text=True)
    try:
        _wait_for_lines(lines, listening)
        played = []
        for clip in clips:
            began = time.time()
            subprocess.run(["paplay", str(clip)], env=sound_server, check=True, timeout=20)
            time.sleep(1.5)
            played.append((clip.stem.split("-")[1][0], began, time.time()))
    finally:
        listening.send_signal(signal.SIGTERM)
        _, said = listening.communicate(timeout=30)
    assert listening.returncode == 0, said
    results = [json.loads(line) for line in lines.read_text().splitlines()]
    heard = [(digit, _heard(results, began, ended)) for digit, began, ended in played]
    right = sum(digit == said for digit, said in heard)
    ages = [result["age_ms"] for result in results]
    p50, p95 = np.percentile(ages, [50, 95])
    print(f"{right} of {len(played)} right, ages p50 {p50:.0f} p95 {p95:.0f} ms; played and heard: {heard}")
    assert right >= 9
    assert p50 < 300  # p95 is the machine's: with 17 programs on 2 cores it was 324 ms


def _heard(results: list[dict[str, Any]], began: float, ended: float) -> str | None:
    """The label that held for most windows while a clip was played and after."""
    labels = Counter(
        str(one["sound"]["heard"])
        for one in results
        if began < one["captured_at"] < ended and one["sound"]["heard"] is not None
    )
    return labels.most_common(1)[0][0] if labels else None


def _wait_for_lines(lines: Path, listening: "subprocess.Popen[str]") -> None:
    for _ in range(300):
        if lines.is_file() and lines.stat().st_size:
            return
        if listening.poll() is not None:
            pytest.fail(f"run ended: {listening.communicate()[1]}")
        time.sleep(0.1)
    pytest.fail("nothing was heard")
