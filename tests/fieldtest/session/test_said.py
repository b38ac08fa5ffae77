"""The list of what became of imported files, which may come with the folder of a stranger."""

import json
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.fieldtest.session import said as said_module
from edgeguard.fieldtest.session.said import STORED, Said, read_said


def _lines(said: Said) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.to_bytes().splitlines()]


def test_what_is_stored_stays_and_the_latest_reason_counts(tmp_path: Path) -> None:
    said = Said()
    said.take([{"name": "a", "reason": "blurred"}, {"name": "b", "reason": "empty"}, {"name": "b", "reason": "small"}])
    said.take([{"file": "a", "frame": "frames/00000/000.jpg"}, {"file": "a", "frame": "frames/00000/001.jpg"}])
    said.take([{"name": "a", "reason": f"{STORED}, in pass 0"}])
    assert [line.get("reason", line.get("frame")) for line in _lines(said)] == [
        "small", "frames/00000/000.jpg", "frames/00000/001.jpg"
    ]  # fmt: skip
    (tmp_path / "import.jsonl").write_bytes(said.to_bytes())
    assert read_said(tmp_path / "import.jsonl").to_bytes() == said.to_bytes()


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert read_said(tmp_path / "import.jsonl").to_bytes() == b""


@pytest.mark.parametrize("text", ["[1]", "5", '{"reason": "x"}', "{", '{"name": "a", "n": 1e999}', "[" * 100_000])
def test_a_list_of_somebody_else_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "import.jsonl").write_text(f"{text}\n")
    with pytest.raises(InputError, match=r"import\.jsonl is damaged"):
        read_said(tmp_path / "import.jsonl")


def test_a_list_of_too_many_lines_is_refused_before_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """153 MB of short lines became 3.7 GB."""
    monkeypatch.setattr(said_module, "_MOST_LINES", 3)
    (tmp_path / "import.jsonl").write_text('{"name": "a"}\n' * 4)
    with pytest.raises(InputError, match="more than 3 lines"):
        read_said(tmp_path / "import.jsonl")


def test_a_list_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "import.jsonl").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a link"):
        read_said(tmp_path / "import.jsonl")
