"""What a killed program left goes; what somebody still writes stays."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.leftovers import clear_all_partials, clear_folders, clear_partials, hold, new_held_folder

_WRITER = """
import sys, time
from pathlib import Path
from edgeguard.system.files import replaced
with replaced(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _killed_writer(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
        writer.kill()


def test_a_killed_writers_file_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    path, other = tmp_path / "v.mp4", tmp_path / ".v-not-ours.mp4"
    other.touch()
    _killed_writer(path)
    _killed_writer(tmp_path / "w.mp4")
    with replaced(path) as living:
        living.write_bytes(b"whole")
        cleared = clear_partials(path)
        assert len(cleared) == 1 and re.fullmatch(r"\.v-[0-9a-f]{8}\.mp4", cleared[0]) and living.exists()
    assert path.read_bytes() == b"whole" and other.exists()
    assert len(clear_all_partials(tmp_path)) == 1 and _names(tmp_path) == [".v-not-ours.mp4", "v.mp4"]
    assert clear_partials(tmp_path / "no" / "x") == []


def test_a_file_that_is_cleared_before_it_is_held_is_made_again(tmp_path: Path) -> None:
    gone = tmp_path / "x"
    assert hold(gone) is None
    gone.touch()
    held = hold(gone)
    assert held is not None and hold(gone) is None  # somebody else holds it
    os.close(held)
    write_bytes(gone, b"y")
    assert gone.read_bytes() == b"y"


def test_folders(tmp_path: Path) -> None:
    name = re.compile(r"edgeguard-[0-9]+-.*")
    for folder in ("edgeguard-1-left", "edgeguard-2-held", "other-1"):
        (tmp_path / folder / "deep").mkdir(parents=True)
    (tmp_path / "edgeguard-3-link").symlink_to(tmp_path / "other-1")
    held = hold(tmp_path / "edgeguard-2-held")
    assert held is not None and clear_folders(tmp_path, name) == ["edgeguard-1-left"]
    os.close(held)
    assert clear_folders(tmp_path, name) == ["edgeguard-2-held"]
    assert _names(tmp_path) == ["edgeguard-3-link", "other-1"] and (tmp_path / "other-1" / "deep").is_dir()


def test_ten_thousand_files_are_looked_through_at_once(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:09d}.jpg").touch()
    began = time.monotonic()
    assert clear_all_partials(tmp_path) == []
    assert time.monotonic() - began < 1


def test_a_new_folder_clears_those_of_killed_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = tmp_path / "edgeguard-4711-abcd_123"
    (killed / "work").mkdir(parents=True)
    other = tmp_path / "edgeguard-4711-abcd_123x"
    other.mkdir()
    first, held = new_held_folder()
    second, also_held = new_held_folder()
    assert not killed.exists() and other.exists() and first.exists() and second.exists()
    os.close(held)
    os.close(also_held)


def test_no_pipe_is_waited_for_and_no_folder_taken_for_a_file(tmp_path: Path) -> None:
    """Beside a model that somebody packed, its name chosen so that it looks like ours."""
    os.mkfifo(tmp_path / ".model-0123abcd.tflite")
    (tmp_path / ".model-0123abce.tflite" / "photos").mkdir(parents=True)
    (tmp_path / ".model-0123abcf.tflite").write_bytes(b"half")
    assert clear_partials(tmp_path / "model.tflite") == [".model-0123abcf.tflite"]
    assert _names(tmp_path) == [".model-0123abcd.tflite", ".model-0123abce.tflite"]
