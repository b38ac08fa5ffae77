"""A repository that somebody else changed: an older copy of it, a timestamp that is gone, links in it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fleet.fleets import Fleet

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.workstation import published
from edgeguard.fleet.workstation.collect import Fleet as Heard
from edgeguard.fleet.workstation.publish import change, publish
from edgeguard.fleet.workstation.watch import Halts


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """With a bundle that was halted, and a copy `older` of the day before."""
    fleet = Fleet(tmp_path)
    publish(fleet.repository, fleet.bundle(1), 5.0, now=fleet.now)
    shutil.copytree(fleet.repository.folder, tmp_path / "older")
    change(fleet.repository, "cam-1", halted=True, now=fleet.now)
    return fleet


def _replace(fleet: Fleet) -> None:
    shutil.rmtree(fleet.repository.folder)
    shutil.copytree(fleet.folder / "older", fleet.repository.folder)


def test_an_older_copy_is_not_signed_again(fleet: Fleet) -> None:
    """The halted bundle went on: the second time the old list got a newer version than devices had seen."""
    _replace(fleet)
    with pytest.raises(InputError, match="older copy"):
        publish(fleet.repository, None, None, now=fleet.now)
    with pytest.raises(InputError, match="older copy"):
        change(fleet.repository, "cam-1", halted=False, now=fleet.now)
    with pytest.raises(InputError, match="older copy"):
        Halts(fleet.repository.folder, fleet.keys).look(Heard(None))
    (fleet.keys / published.NAME).unlink()  # as the line says
    assert not publish(fleet.repository, None, None, now=fleet.now).bundles[0].halted


def test_a_repository_without_its_timestamp_is_no_new_one(fleet: Fleet) -> None:
    """It began again at version 1, which no device takes, and named no bundle."""
    (fleet.repository.metadata / "timestamp.json").unlink()
    with pytest.raises(InputError, match=r"no timestamp\.json"):
        publish(fleet.repository, None, None, now=fleet.now)


def test_what_another_workstation_publishes_counts(fleet: Fleet) -> None:
    ours = (fleet.keys / published.NAME).read_bytes()
    change(fleet.repository, "cam-1", halted=False, now=fleet.now)
    (fleet.keys / published.NAME).write_bytes(ours)  # it was another one: here nothing is known of it
    assert publish(fleet.repository, None, None, now=fleet.now).serial == 5
    shutil.copytree(fleet.repository.folder, fleet.folder / "second")
    second = type(fleet.repository)(fleet.folder / "second", fleet.keys)
    assert publish(second, None, None, now=fleet.now).serial == 6, "another folder is another repository"


def test_keys_that_cannot_be_written_beside_are_no_end(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise DeviceError(f"cannot write {path}: Read-only file system")

    monkeypatch.setattr(published, "write_bytes", full)
    assert publish(fleet.repository, None, None, now=fleet.now).bundles
    assert "an older copy" in caplog.text


def test_a_damaged_note_is_one_line(fleet: Fleet) -> None:
    (fleet.keys / published.NAME).write_text('{"a": "b"}')
    with pytest.raises(InputError, match=r"published\.json is damaged"):
        publish(fleet.repository, None, None, now=fleet.now)


@pytest.mark.parametrize("name", ["metadata", "targets", "targets/bundles"])
def test_nothing_is_written_behind_a_link(tmp_path: Path, name: str) -> None:
    """Whoever can write the folder of a web server chose where metadata and bundles went."""
    fleet, elsewhere = Fleet(tmp_path), tmp_path / "elsewhere"
    link = fleet.repository.folder / name
    link.parent.mkdir(parents=True)
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    with pytest.raises(InputError, match="is a link"):
        publish(fleet.repository, fleet.bundle(1), None, now=datetime.now(UTC))
    assert not list(elsewhere.iterdir())
