"""Files of results and lists with tens of millions of short lines: 60 MB of them took 1.4 GB where they were split."""

from collections.abc import Callable
from pathlib import Path

import pytest
from system.crafted_zip import memory_below

from edgeguard.datasets.exclusions import read_exclusions
from edgeguard.errors import InputError
from edgeguard.evaluate.certify import table
from edgeguard.evaluate.experiments import noise_certification
from edgeguard.evaluate.reports.folder import claim
from edgeguard.evaluate.reports.results import read_results
from edgeguard.fieldtest.session.said import read_said

_LINES = 400_000


def _certified(path: Path) -> object:
    return table._read(path, {"patch_px": [2]})


def _claimed(path: Path) -> None:
    path.rename(path.parent / "results.jsonl")
    claim(path.parent, {"protocol": "x"})


@pytest.mark.parametrize("line", [b"xx\n", b"{}\n", b"\n", b"{}\r"])
@pytest.mark.parametrize(
    "read", [read_results, _certified, noise_certification._whole_lines, read_said, _claimed], ids=lambda f: f.__name__
)
def test_many_short_lines_cost_no_more_than_the_file(
    tmp_path: Path, read: Callable[[Path], object], line: bytes
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(line * _LINES)
    with memory_below(4 << 20):
        try:
            found = read(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert not found


def test_what_a_line_of_certificates_says_beside_is_refused(tmp_path: Path) -> None:
    path, head = tmp_path / "lines", b'{"patch_px": [2]}\n'
    line = b'{"image": "a", "label": 0, "plain": 0, "found": [[0, true, 1.0, 1.0]]%s}\n'
    path.write_bytes(head + line % b"")
    assert set(table._read(path, {"patch_px": [2]})) == {"a"}
    path.write_bytes(head + line % b', "x": [{"a": 0}]')
    with pytest.raises(InputError, match="none of ours"):
        table._read(path, {"patch_px": [2]})
    assert path.read_bytes().startswith(head)


def test_a_list_names_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "exclude.txt"
    path.write_text("# nothing\na.png\r\n b.png\n\na.png\n")
    assert read_exclusions(path) == ["a.png", "b.png"]
    monkeypatch.setattr("edgeguard.datasets.exclusions._MOST_NAMES", 1)
    with pytest.raises(InputError, match="more than 1 files"):
        read_exclusions(path)
