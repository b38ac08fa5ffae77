"""A conversion that the system kills: one line, exit code 3, nothing left behind."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.convert

CARDS = Path(__file__).parents[2] / "edgeguard" / "demo" / "assets" / "cards.pt2"
MAIN = "from edgeguard.cli.main import main; main()"


def _convert(folder: Path, memory: int | None = None) -> subprocess.Popen[str]:
    (folder / "temporary").mkdir()
    limit: Callable[[], None] | None = None
    if memory is not None:

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "convert", str(CARDS), "--output", str(folder / "out.tflite")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
        preexec_fn=limit,
    )


def _child(process: subprocess.Popen[str], folder: Path) -> int:
    """The working child, once it has a folder to work in."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if found and any((folder / "temporary").glob(f"edgeguard-{found[0]}-*")):
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError("no child at work")


@pytest.mark.full
def test_a_killed_conversion_is_said_and_cleared_up(tmp_path: Path) -> None:
    process = _convert(tmp_path)
    os.kill(_child(process, tmp_path), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 3 and stdout == ""
    assert stderr.splitlines()[-1] == (
        "edgeguard: the conversion was ended by SIGKILL (out of memory?): a file appears only when it is finished"
    )
    assert not list((tmp_path / "temporary").glob("edgeguard-*-*/")) and not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)])
def test_signals_go_to_the_child(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = _convert(tmp_path)
    _child(process, tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == code, stderr
    assert not list((tmp_path / "temporary").glob("edgeguard-*-*/")) and not (tmp_path / "out.tflite").exists()


@pytest.mark.full
def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    process = _convert(tmp_path)
    child = _child(process, tmp_path)
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.full
@pytest.mark.parametrize("megabytes", [600, 1900])
def test_too_little_memory_is_one_line(tmp_path: Path, megabytes: int) -> None:
    process = _convert(tmp_path, megabytes << 20)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 3, stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("edgeguard: ") and "memory" in last
    assert not (tmp_path / "out.tflite").exists()
