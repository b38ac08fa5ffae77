"""Folders of anybody: many files, folders in folders without end."""

import os
from pathlib import Path

import pytest

from edgeguard.datasets.entries import entries
from edgeguard.datasets.images import list_images
from edgeguard.errors import InputError
from edgeguard.fieldtest.session.photographs import found_files
from edgeguard.system.walk import MOST_DEEP, walk


def _deep(folder: Path, depth: int) -> Path:
    """One that no path leads into: its name would have more than 4,096 bytes."""
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(depth):
            Path("aa").mkdir()
            os.chdir("aa")
        Path("x.png").touch()
    finally:
        os.chdir(before)
    return folder


def _removed(folder: Path) -> None:
    """pytest's own way of removing it would end in a RecursionError."""
    for _ in range(2):
        os.system(f"rm -rf '{folder}'")


@pytest.mark.parametrize("depth", [MOST_DEEP + 1, 1100, 2500])
def test_folders_in_folders_are_one_line(depth: int, tmp_path: Path) -> None:
    """A RecursionError (exit 70), or a path that is too long (exit 3)."""
    folder = _deep(tmp_path / "deep", depth)
    try:
        for read in (list_images, lambda f: entries(f, {".png"}, strict=True), lambda f: list(found_files([f]))):
            with pytest.raises(InputError, match="holds folders more than 100 deep; refused") as refused:
                read(folder)
            assert len(str(refused.value)) < 500
    finally:
        _removed(folder)


def test_names_below_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/1.png", "a/x/2.png", "3.png", ".hidden/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path(), Path("b").parent):
        assert sorted(name for name, _ in walk(folder)) == [".hidden/4.png", "3.png", "a/x/2.png", "b/1.png", "link"]
    assert [str(path) for path in list_images(Path())] == ["3.png", "a/x/2.png", "b/1.png"]
    assert sorted(name for name, _ in walk(tmp_path, into=lambda name: name != "a")) == [
        ".hidden/4.png", "3.png", "b/1.png", "link"
    ]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
def test_a_folder_that_is_gone_is_one_line(strict: bool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the folder"):
        list(walk(tmp_path / "gone", strict=strict))
