"""What conversions leave: the newest logs of refused ones, and nothing of killed ones."""

import os
import tempfile
from pathlib import Path

import pytest

from edgeguard_converters.support.folder import work_folder
from edgeguard_converters.support.log import log_file


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _refused(number: int) -> None:
    with log_file() as log:
        log.write_text(f"{number}")
        os.utime(log, (number, number))
        raise ValueError(f"see {log}")


def test_logs_of_refused_conversions_do_not_pile_up(temporary: Path) -> None:
    for number in range(1, 41):
        with pytest.raises(ValueError, match="see "):
            _refused(number)
    with log_file() as log:
        assert log.exists()
    kept = sorted(int(path.read_text()) for path in temporary.glob("edgeguard-convert-*.log"))
    assert kept == [36, 37, 38, 39, 40]


def test_the_empty_log_of_a_killed_conversion_goes_and_a_running_ones_stays(temporary: Path) -> None:
    left = temporary / "edgeguard-convert-abcd1234.log"
    left.touch()
    with log_file() as running:
        assert not left.exists()
        with log_file() as beside:
            assert running.exists() and beside.exists()
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_conversions_go_and_those_of_others_stay(temporary: Path) -> None:
    left, foreign = temporary / "edgeguard-123-abcd1234", temporary / "edgeguard-notes"
    for folder in (left, foreign):
        (folder / "deep").mkdir(parents=True)
    with work_folder() as mine, work_folder() as beside:
        assert mine.is_dir() and beside.is_dir() and not left.exists() and foreign.is_dir()
    assert sorted(path.name for path in temporary.iterdir()) == ["edgeguard-notes"]
