"""Folders and archives come from strangers."""

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
from system.crafted_zip import BZIP2, DEFLATED, LZMA, bomb, memory_below, zip_of_many

from edgeguard.datasets.entries import UnreadableMember, entries
from edgeguard.datasets.exclusions import read_exclusions
from edgeguard.datasets.poison_note import poison_line, poison_note
from edgeguard.errors import InputError

PNG = {".png"}


def _zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_folder_and_zip_name_the_same_files_in_the_same_order(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/2.PNG", "a/1.png", "a/notes.txt"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(name)
    packed = _zip(tmp_path / "d.zip", "b/1.png", "a/notes.txt", "a/2.PNG", "a/1.png")
    for place in (tmp_path / "d", packed):
        assert [entry.name for entry in entries(place, PNG, strict=True)] == ["a/1.png", "a/2.PNG", "b/1.png"]
        assert entries(place, PNG)[0].read() == b"a/1.png"


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a//x.png", "a\\x.png"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads elsewhere"):
        entries(_zip(tmp_path / "d.zip", name), PNG, strict=True)


def test_names_equal_but_for_case_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "X.png").touch()
    (tmp_path / "a" / "x.png").touch()
    for place in (
        tmp_path,
        _zip(tmp_path / "d.zip", "a/x.png", "A/x.png"),
        _zip(tmp_path / "e.zip", "cat/1.png", "Cat/2.png"),
        _zip(tmp_path / "f.zip", "caf\u00e9/1.png", "cafe\u0301/2.png"),
    ):
        with pytest.raises(InputError, match="equal but for case"):
            entries(place, PNG, strict=True)


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "passwd.png").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        entries(tmp_path / "link", PNG, strict=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "x.png")
    with pytest.raises(InputError, match="pipe"):
        entries(tmp_path / "pipe", PNG, strict=True)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        info = zipfile.ZipInfo("a/x.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="a link or a device"):
        entries(tmp_path / "d.zip", PNG)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"a/{number}.png", bytes(40 << 20))
    with pytest.raises(InputError, match="would unpack"):
        entries(tmp_path / "d.zip", PNG)


def test_a_list_of_files_to_leave_out(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# suspects\n\na/1.png\r\n  b/2.png\na/1.png\n")
    assert read_exclusions(tmp_path / "list") == ["a/1.png", "b/2.png"]
    (tmp_path / "list").write_text("# an audit that points at nothing\n")
    assert read_exclusions(tmp_path / "list") == []


def test_a_name_that_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path) + b"/a/\xff.png", "wb"):
        pass
    for strict in (False, True):
        with pytest.raises(InputError, match="rename the file"):
            entries(tmp_path, PNG, strict=strict)


def test_a_poison_of_another_schema_is_not_left_unsaid(tmp_path: Path) -> None:
    assert poison_line(tmp_path) is None
    (tmp_path / "poison.json").write_text('{"schema": 1, "method": "ops", "files": ["a/1.png"]}')
    said = poison_line(tmp_path)
    assert said is not None and "1 of its images are POISONED (ops)" in said
    (tmp_path / "poison.json").write_text('{"schema": 2}')
    with pytest.raises(InputError, match="schema 1"):
        poison_line(tmp_path)


def _spoiled(path: Path, name: str, kind: str) -> Path:
    """A .zip of one file whose list of files, or whose data, say what cannot be read."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "{}" * 50)
    data = bytearray(path.read_bytes())
    there = data.rindex(b"PK\x01\x02")
    if kind == "encrypted":
        data[there + 8] |= 1
        data[6] |= 1
    elif kind == "method":
        data[there + 10] = 99
    elif kind == "version":
        data[there + 6] = 99
    elif kind == "name":
        data[there + 9] |= 8  # the name is UTF-8
        data[there + 46] = 0xFF
    else:
        data[30 + len(name)] = 0xFF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["encrypted", "method", "version", "name", "packed data"])
def test_archives_that_cannot_be_unpacked_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        poison_line(_spoiled(tmp_path / "poison.zip", "poison.json", kind))
        for entry in entries(tmp_path / "poison.zip", {".json"}):  # a spoiled name is another one
            entry.read()
    assert "poison.zip" in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"d\.zip"):
        for entry in entries(_spoiled(tmp_path / "d.zip", "a.png", kind), PNG, strict=True):
            entry.read()


def test_a_giant_and_a_lost_file_are_unreadable_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"small")
    with open(tmp_path / "b.png", "wb") as file:
        file.truncate(3 << 30)  # a hole: nothing is on the disk
    (tmp_path / "c.png").symlink_to("/dev/zero")
    small, giant = entries(tmp_path, {".png"})  # what is no file is not listed
    assert small.read() == b"small"
    with pytest.raises(UnreadableMember, match="larger than 64 MiB"):
        giant.read()
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnreadableMember, match="cannot read"):
        small.read()


@pytest.mark.parametrize("method", [DEFLATED, BZIP2, LZMA])
def test_a_file_in_an_archive_has_the_size_that_it_says(tmp_path: Path, method: int) -> None:
    (tmp_path / "d.zip").write_bytes(bomb("a/1.png", method, 1000))
    with memory_below(1 << 20), pytest.raises(UnreadableMember, match=r"d\.zip: 'a/1\.png'"):
        entries(tmp_path / "d.zip", PNG)[0].read()
    (tmp_path / "p.zip").write_bytes(bomb("poison.json", method, 1000))
    with memory_below(1 << 20), pytest.raises(InputError, match=r"p\.zip: 'poison\.json'"):
        poison_line(tmp_path / "p.zip")


def test_an_archive_of_too_many_files_is_refused_by_its_list(tmp_path: Path) -> None:
    (tmp_path / "d.zip").write_bytes(zip_of_many(250_001))
    for read in (entries, lambda path, suffixes: poison_line(path)):
        with memory_below(16 << 20), pytest.raises(InputError, match="lists more than 250000 files"):
            read(tmp_path / "d.zip", PNG)


def test_a_note_of_poison_says_names_and_a_short_method(tmp_path: Path) -> None:
    """What was put right stood behind what the file said, and did not count."""
    (tmp_path / "poison.json").write_text(json.dumps({"schema": 1, "method": "m" * 1000, "files": ["a/1.png"]}))
    note = poison_note(tmp_path)
    assert note is not None and note["method"] == "m" * 80 and note["files"] == ["a/1.png"]
    (tmp_path / "poison.json").write_text(json.dumps({"schema": 1, "method": "lsp", "files": [[], {}]}))
    with pytest.raises(InputError, match=r"poison\.json of .* is damaged"):
        poison_note(tmp_path)
