"""Keys of a fleet are not lost, whatever is in their folder and however full the disk is."""

from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

pytest.importorskip("tuf", reason="the fleet extra is not installed")

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.workstation import keys
from edgeguard.fleet.workstation.keys import make_keys, replace_key
from edgeguard.system.files import write_bytes

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize("left", ["root", "release", "online", "online.pub", "1.root.json"])
def test_keys_without_their_root_metadata_are_not_written_over(left: str, tmp_path: Path) -> None:
    """Looked for were root.json and .pem: the keys have no ending, and those of an interrupted keygen no root.json."""
    make_keys(tmp_path / "keys", NOW)
    for path in (tmp_path / "keys").iterdir():
        if path.name != left:
            path.unlink()
    before = (tmp_path / "keys" / left).read_bytes()
    with pytest.raises(InputError, match="holds keys already"):
        make_keys(tmp_path / "keys", NOW)
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "keys").iterdir()] == [(left, before)]


def _full_at(name: str) -> mock._patch:
    def write(path: Path, data: bytes) -> None:
        if path.name == name:
            raise DeviceError(f"cannot write {path}: No space left on device")
        write_bytes(path, data)

    return mock.patch.object(keys, "write_bytes", write)


@pytest.mark.parametrize("name", ["root.pub", "online.pub", "root.json"])
def test_a_full_disk_leaves_no_half_of_a_folder_of_keys(name: str, tmp_path: Path) -> None:
    with _full_at(name), pytest.raises(DeviceError):
        make_keys(tmp_path / "keys", NOW)
    assert not (tmp_path / "keys").exists()
    make_keys(tmp_path / "keys", NOW)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["release.new.pub", "2.root.json", "root.json"])
def test_a_key_that_cannot_be_replaced_stays(name: str, tmp_path: Path) -> None:
    make_keys(tmp_path, NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with _full_at(name), pytest.raises(DeviceError):
        replace_key(tmp_path, "release", NOW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    replace_key(tmp_path, "release", NOW)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys() | {"release.revoked", "2.root.json"}
    assert after["release.revoked"] == before["release"] != after["release"]
