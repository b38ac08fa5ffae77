"""A file names others below its own folder only."""

import os
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.names import file_inside, folder_inside, is_plain_name, refuse_special, with_a_name


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", ".", "a//b", "a\0b", "x" * 600])
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    assert not is_plain_name(name)
    with pytest.raises(InputError):
        file_inside(tmp_path, name)


def test_links_devices_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"x" * 10)
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "in").symlink_to(tmp_path / "good")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")  # `Path.resolve` raises RuntimeError
    os.mkfifo(tmp_path / "pipe")
    assert file_inside(tmp_path, "good").name == "good" and file_inside(tmp_path, "in").name == "in"
    for name, said in (("out", "leads out"), ("pipe", "not there"), ("none", "not there"), ("ring", "not there")):
        with pytest.raises(InputError, match=said):
            file_inside(tmp_path, name)
    with pytest.raises(InputError, match="more than 9"):
        file_inside(tmp_path, "good", most_bytes=9)


def test_a_folder_that_is_gone_on_with_leads_nowhere(tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    own.mkdir()
    elsewhere.mkdir()
    (own / "log").write_text("")
    refuse_special(own, "log", "missing")
    assert folder_inside(own, "a/b") == own / "a" / "b" and (own / "a" / "b").is_dir()
    (own / "link").symlink_to(elsewhere)
    (own / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "link/below", "dangling"):
        with pytest.raises(InputError, match="is a link: what is written here has to lie in"):
            folder_inside(own, name)
    assert list(elsewhere.iterdir()) == []
    os.mkfifo(own / "pipe")
    for name in ("pipe", "pipe/below"):
        with pytest.raises(InputError, match="is a pipe, a socket or a device"):
            folder_inside(own, name)
    with pytest.raises(DeviceError, match="cannot make"):
        folder_inside(own, "log/x")


def test_paths_without_a_name_are_what_they_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "saved")
    assert with_a_name(Path()) == with_a_name(Path("in/..")) == tmp_path / "saved"
    assert with_a_name(Path("..")) == tmp_path and with_a_name(Path("in")) == Path("in")
    for nameless in ("/", "/.."):
        with pytest.raises(InputError, match="has no name"):
            with_a_name(Path(nameless))
