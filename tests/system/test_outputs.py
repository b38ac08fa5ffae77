"""An output folder after a refusal: as it was before."""

from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system import outputs
from edgeguard.system.outputs import into_folder, output_folder


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _refused(folder: Path, *begun: str, written: tuple[str, ...] = ()) -> None:
    with pytest.raises(InputError), output_folder(folder, *begun):
        for name in written:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        raise InputError("no")


def test_a_refusal_leaves_no_folder_and_none_above_it(tmp_path: Path) -> None:
    _refused(tmp_path / "a" / "b")
    assert _tree(tmp_path) == set()


def test_what_was_begun_goes_with_its_folders(tmp_path: Path) -> None:
    begun = ("note.json", "parts/*.toml", "parts")
    _refused(tmp_path / "out", *begun, written=("note.json", "parts/a.toml", "parts/b.toml"))
    assert _tree(tmp_path) == set()


def test_where_work_was_done_everything_stays(tmp_path: Path) -> None:
    _refused(tmp_path / "out", "note.json", written=("note.json", "kept/1"))
    assert _tree(tmp_path) == {"out", "out/note.json", "out/kept", "out/kept/1"}


def test_work_in_folders_that_were_there_counts_too(tmp_path: Path) -> None:
    """Only new names at the top were looked at: the note of the work went, and the work could not be gone on with."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "results.jsonl").write_text("1\n")
    _refused(tmp_path, "note.json", written=("note.json", "kept/1"))
    assert _tree(tmp_path) == {"kept", "kept/1", "note.json", "results.jsonl"}
    (tmp_path / "note.json").unlink()
    with pytest.raises(InputError), output_folder(tmp_path, "note.json"):
        (tmp_path / "note.json").write_text("x")
        with open(tmp_path / "results.jsonl", "a") as stream:
            stream.write("2\n")
        raise InputError("no")
    assert (tmp_path / "note.json").exists()


def test_a_folder_of_countless_files_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_MOST_LOOKED_AT", 3)
    for number in range(5):
        (tmp_path / f"{number}").write_text("x")
    _refused(tmp_path, "note.json", written=("note.json",))
    assert (tmp_path / "note.json").exists()


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text("old")
    (tmp_path / "own").mkdir()
    _refused(tmp_path, "note.json", "new.json", written=("new.json",))
    assert _tree(tmp_path) == {"note.json", "own"} and (tmp_path / "note.json").read_text() == "old"


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(InputError), output_folder(folder, "note.json"):
        (folder / "theirs").mkdir()
        (folder / "link").symlink_to(tmp_path)
        raise InputError("no")
    assert _tree(tmp_path) == {"out", "out/theirs", "out/link"}


def test_a_result_and_an_interruption_stay(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", "note.json"):
        (tmp_path / "out" / "note.json").write_text("x")
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "begun"):
        raise KeyboardInterrupt
    assert _tree(tmp_path) == {"out", "out/note.json", "begun"}


@pytest.mark.parametrize("below", ["file", "file/x", "file/x/y", "gone", "gone/x"])
def test_a_folder_that_cannot_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(DeviceError, match="cannot write in"), output_folder(tmp_path / below):
        pass
    assert _tree(tmp_path) == {"file", "gone"}


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot write in"), output_folder(tmp_path / "new" / ("a" * 1000)):
        pass
    assert _tree(tmp_path) == set()


def test_a_function_finds_its_folder_by_its_parameter(tmp_path: Path) -> None:
    @into_folder("out", "note.json")
    def work(n: int, out: Path, *, fail: bool = False) -> int:
        (out / "note.json").write_text("x")
        if fail:
            raise InputError("no")
        return n

    with pytest.raises(InputError):
        work(3, out=tmp_path / "o", fail=True)
    assert _tree(tmp_path) == set()
    assert work(3, tmp_path / "o") == 3
    assert _tree(tmp_path) == {"o", "o/note.json"}
