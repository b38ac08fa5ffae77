import os
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system import files
from edgeguard.system.files import check_writable, replaced, sha256_file, write_bytes
from edgeguard.system.leftovers import clear_partials


def test_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    write_bytes(target, b"old")
    with pytest.raises(ZeroDivisionError), replaced(target) as partial:
        partial.write_bytes(b"half")
        1 / 0  # noqa: B018
    assert target.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["x.bin"]
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert sha256_file(target) == "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot write .*y\.bin: No such file"):
        write_bytes(tmp_path / "no" / "y.bin", b"")


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o027)
    monkeypatch.setattr(os, "umask", None)  # whoever looks at it changes it for every thread
    try:
        write_bytes(tmp_path / "x", b"")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_name_without_a_file_is_refused_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError, match=r"cannot write \."):
        write_bytes(Path(), b"")
    assert list(tmp_path.iterdir()) == []


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "stdout").write_text("kept")
    for name in ("pipe", "link"):
        for refused in (check_writable, lambda path: write_bytes(path, b"x")):
            with pytest.raises(DeviceError, match="a device, a pipe or a socket"):
                refused(tmp_path / name)
    monkeypatch.setattr(files, "_DEVICES", tmp_path.resolve())  # as /dev/stdout, which may lead to a plain file
    with pytest.raises(DeviceError, match="a device, a pipe or a socket"):
        write_bytes(tmp_path / "stdout", b"x")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert (tmp_path / "stdout").read_text() == "kept" and len(list(tmp_path.iterdir())) == 3


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, why in {".": "it is a folder", "file/x": "is not a folder", "a" * 300: "File name too long"}.items():
        with pytest.raises(DeviceError, match=why):
            check_writable(tmp_path / name)
    check_writable(tmp_path / "new", None, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_hashed_is_a_plain_file_that_ends(tmp_path: Path) -> None:
    """A terabyte of holes was hashed byte by byte, and a device without end."""
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero", "pipe"):
        with pytest.raises(InputError, match="is no plain file; refused"):
            sha256_file(tmp_path / name)
    with open(tmp_path / "holes", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="is larger than 16 GiB"):
        sha256_file(tmp_path / "holes")


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "é" * 125 + ".png", "n" * 255])
def test_names_as_long_as_a_file_system_takes(name: str, tmp_path: Path) -> None:
    """The unfinished file has ten characters more, and was refused."""
    with replaced(tmp_path / name) as partial:
        partial.write_bytes(b"x")
        held = partial.name
        assert not clear_partials(tmp_path / name), "it is held"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / held).write_bytes(b"left")
    assert clear_partials(tmp_path / name) == [held]


def test_a_link_to_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("folder", "link"):
        with pytest.raises(DeviceError, match="it is a folder"):
            write_bytes(tmp_path / name, b"x")
        with pytest.raises(DeviceError, match="it is a folder"):
            check_writable(tmp_path / name)
    assert (tmp_path / "link").is_symlink()
