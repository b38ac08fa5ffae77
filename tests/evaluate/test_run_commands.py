"""`evaluate` as a command: interrupted, killed, and with what it cannot use."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import here
from evaluate.test_run import GRAY


def _command(*arguments: object) -> list[str]:
    return [str(Path(sys.executable).with_name("edgeguard")), *map(str, arguments)]


@pytest.fixture(scope="module")
def protocol_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("p") / "small.toml"
    path.write_text(GRAY)
    return path


@pytest.mark.full
def test_interrupted(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    out, protocol_file = tmp_path / "out", tmp_path / "long.toml"
    protocol_file.write_text(GRAY.replace("steps = 6", "steps = 3000"))  # not done before the interrupt comes
    command = _command("evaluate", card_model, "--images", card_images, "--protocol", protocol_file, "--output", out)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.adv")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
    deadline = time.monotonic() + 10
    while (left := _session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == "", "workers are gone too"


def _session(leader: int) -> str:
    return subprocess.run(["pgrep", "-s", str(leader)], capture_output=True, text=True, check=False).stdout


@pytest.mark.full
def test_killed_and_gone_on(card_model: Path, card_images: Path, protocol_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = _command(
        "evaluate", card_model, "--images", card_images, "--protocol", protocol_file, "--output", out, "--workers", 1
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.adv")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.adv")}
    assert kept
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 18 and all(row["schema"] == 1 for row in rows)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


RAY = ["{model}", "--images", "{images}", "--output", "{out}", "--ray"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{model}", "--images", "nowhere", "--output", "{out}"], 2, "nowhere"),
        (["{program}", "--images", "{images}", "--output", "{out}"], 2, "convert"),
        (["{model}", "--images", "{images}", "--output", "{out}", "--protocol", "nope"], 2, "known"),
        (["{model}", "--images", "{images}", "--output", "/proc/none"], 3, "cannot write"),
        *(
            pytest.param([*RAY, address], code, said, marks=pytest.mark.full)
            for address, code, said in (("127.0.0.1:9", 3, "no Ray cluster"), ("moon", 2, "HOST:PORT"))
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], code: int, said: str, card_model: Path, card_images: Path, tmp_path: Path
) -> None:
    if "--ray" in arguments:
        pytest.importorskip("ray", reason="needs the cluster extra")
    names = {
        "model": card_model, "program": card_model.with_suffix(".pt2"), "images": card_images, "out": tmp_path / "out"
    }  # fmt: skip
    words = ["evaluate", *(argument.format(**names) for argument in arguments)]
    if "--ray" in arguments:  # Ray's threads stay
        done = subprocess.run(_command(*words), capture_output=True, text=True, check=False)
    else:
        done = here(*words)
    lines = [line for line in done.stderr.splitlines() if line.startswith("edgeguard: ")]
    assert done.returncode == code and said in lines[-1] and "Traceback" not in done.stderr
