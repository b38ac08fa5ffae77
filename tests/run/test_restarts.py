"""A service that ends badly again and again says so; one that is stopped, or ended once, does not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.run.restarts import NAME, ends_counted, state_folder

LOUD = "THIS SERVICE DID NOT END CLEANLY"


def _end(folder: Path, at: float, error: BaseException | None = None) -> None:
    try:
        with ends_counted(folder, lambda: at):
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error


def test_three_bad_ends_in_an_hour_are_said(tmp_path: Path, said: list[str]) -> None:
    for at in (0, 5, 10):
        _end(tmp_path, at, InputError("the runtime crashes on the model\n(SIGFPE); that was 3 frames in a row"))
    assert not said
    _end(tmp_path, 15)
    (line,) = said
    assert line.startswith(f"{LOUD} 3 TIMES IN THE LAST HOUR. The last time: the runtime crashes on the model (SIGFPE)")


def test_clean_ends_and_old_ones_are_not_counted(tmp_path: Path, said: list[str]) -> None:
    for at in (0, 1, 2):
        _end(tmp_path, at, InputError("x"))
    for at in (10_000, 10_001, 10_002, 10_003):
        _end(tmp_path, at)
        _end(tmp_path, at, SystemExit(0))
        _end(tmp_path, at, KeyboardInterrupt())
    assert not said


def test_what_is_kept_is_bounded_and_damage_counts_for_nothing(tmp_path: Path, said: list[str]) -> None:
    for damage in (b"", b"\xff", b"[1]", b'{"at": 1}', b"[" * 100_000, b'[{"at": "x", "why": 1}]', b"null"):
        (tmp_path / NAME).write_bytes(damage)
        _end(tmp_path, 1)
    (tmp_path / NAME).write_text(json.dumps([{"at": at, "why": "x" * 300} for at in range(300)]))
    _end(tmp_path, 1, InputError("x" * 10_000))
    kept = json.loads((tmp_path / NAME).read_text())
    assert len(kept) == 200 and max(len(each["why"]) for each in kept) == 300
    _end(tmp_path / "not there", 1)  # no folder, no count, no harm
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_killed_run_counts(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from edgeguard.run.restarts import ends_counted\n"
    code += "with ends_counted(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -signal.SIGKILL
    assert [each["why"] for each in json.loads((tmp_path / NAME).read_text())] == [
        "it was killed, or the machine went down"
    ] * 3


def test_the_folder_is_systemds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert state_folder() is None
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edgeguard:/var/lib/other")
    assert state_folder() == Path("/var/lib/edgeguard")


@pytest.mark.full
def test_a_service_whose_graph_dies_on_every_frame_says_so(tmp_path: Path) -> None:
    """Four starts, as systemd makes them."""
    import cv2
    import numpy as np
    from cli.launch import LAUNCH
    from model import crafted

    (tmp_path / "pictures").mkdir()
    for number in range(4):
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[0, 0, 0] = 1  # the sum that ends the process
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), picture)
    model = tmp_path / "m.tflite"
    model.write_bytes(crafted.with_contract(crafted.divides()))
    command = [*LAUNCH, "run", str(model), "--source", str(tmp_path / "pictures")]
    said = [
        subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "STATE_DIRECTORY": str(tmp_path)}
        )
        for _ in range(4)
    ]
    assert all(done.returncode != 0 for done in said)
    assert [LOUD in done.stderr for done in said] == [False, False, False, True]
