"""Copies of files on a machine that others use as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import DeviceError
from edgeguard.evaluate.engine.cluster import _run_there
from edgeguard.evaluate.engine.jobs import Sample, ScoreJob, run_score
from edgeguard.evaluate.engine.remote_files import keep_copy
from edgeguard.evaluate.engine.targets import Target
from edgeguard.system.located import located


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_folder_of_copies_that_is_not_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Its name in the temporary folder can be foreseen."""
    folder, elsewhere = tmp_path / "copies", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        folder.symlink_to(elsewhere)
    elif kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.write_text("")
    monkeypatch.setenv("EDGEGUARD_EVALUATE_FILES", str(folder))
    with pytest.raises(DeviceError, match="is not this user's alone"):
        keep_copy("/machine/elsewhere/photo.jpg", b"abc")
    assert list(elsewhere.iterdir()) == []


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What another machine's process has: a folder of copies, and one thread."""
    monkeypatch.setenv("EDGEGUARD_EVALUATE_FILES", str(tmp_path / "copies"))
    monkeypatch.setenv("EDGEGUARD_EVALUATE_WORKER", "1")
    monkeypatch.setattr("edgeguard.system.located._copies", {})
    threads = torch.get_num_threads()
    yield tmp_path / "copies"
    torch.set_num_threads(threads)


def test_files_travel_where_they_are_not(copies: Path) -> None:
    for data in (b"abc", b"abcd"):
        keep_copy("/machine/elsewhere/photo.jpg", data)
        assert located("/machine/elsewhere/photo.jpg").read_bytes() == data
    assert len(list(copies.iterdir())) == 2 and located("/machine/elsewhere/photo.jpg").suffix == ".jpg"


def test_another_file_of_the_same_name_is_not_taken_for_the_one_that_was_sent(copies: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.jpg"
    here.write_bytes(b"theirs")
    keep_copy(str(here), b"ours")
    assert located(str(here)).read_bytes() == b"ours" and here.read_bytes() == b"theirs"
    here.write_bytes(b"ours")
    keep_copy(str(here), b"ours")
    assert located(str(here)) == here


@pytest.mark.usefixtures("copies")
def test_the_file_of_a_guard_travels(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    """It is the name of a defense: tasks on another machine did not find it."""
    guard = tmp_path / "mine.toml"
    GuardProfile.preset("fd-paper").save(guard)
    picture = sorted(card_images.rglob("*.png"))[0]
    job = ScoreJob(
        target=Target(str(card_model), "frame"), samples=(Sample(str(picture), 0, ""),), defense=f"{guard} x2",
        when="once", seed=0,
    )  # fmt: skip
    wanted = run_score(job)
    contents = [Path(path).read_bytes() for path in job.files]
    guard.unlink()
    assert _run_there(run_score, job, job.files, *contents) == wanted
