"""What of a file is data, also where a file system counts no blocks."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edgeguard.system.holes import bytes_of_data


def _sparse(path: Path) -> int:
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"x" * 4096)
        file.truncate(1 << 30)
    with path.open("rb") as file:
        return bytes_of_data(file.fileno(), os.fstat(file.fileno()))


def test_holes_are_no_data(tmp_path: Path) -> None:
    assert 4096 <= _sparse(tmp_path / "sparse") <= 1 << 18


def test_a_file_of_nothing_but_holes_has_none(tmp_path: Path) -> None:
    path = tmp_path / "holes"
    path.touch()
    os.truncate(path, 1 << 40)
    with path.open("rb") as file:
        assert bytes_of_data(file.fileno(), os.fstat(file.fileno())) == 0


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_file_whose_blocks_are_not_counted_is_data(tmp_path: Path, size: int) -> None:
    path = tmp_path / "whole"
    path.write_bytes(b"x" * size)
    with path.open("rb") as file:
        assert bytes_of_data(file.fileno(), cast(os.stat_result, SimpleNamespace(st_blocks=0, st_size=size))) == size


def test_where_the_system_does_not_tell_all_of_it_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refused)
    assert _sparse(tmp_path / "sparse") == 1 << 30
