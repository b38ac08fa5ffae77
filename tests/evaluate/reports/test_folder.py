"""A folder of results belongs to one evaluation."""

from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.reports.folder import claim

FACTS = {"protocol": "guard-audit", "model": "ab" * 32, "seed": 0, "images": 12}


def _with_results(folder: Path) -> Path:
    claim(folder, FACTS)
    (folder / "results.jsonl").write_text('{"protocol": "guard-audit"}\n')
    return folder


def test_the_same_evaluation_goes_on_and_may_get_more_images(tmp_path: Path) -> None:
    claim(_with_results(tmp_path), FACTS)
    claim(tmp_path, {**FACTS, "images": 100})
    with pytest.raises(InputError, match="its images are 100, not 12"):
        claim(tmp_path, FACTS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("protocol", "quick", "its protocol is guard-audit, not quick"),
        ("model", "cd" * 32, "its model is abababababab..., not cdcdcdcdcdcd..."),
        ("seed", 1, "its seed is 0, not 1"),
    ],
)
def test_another_one_is_refused_and_nothing_changes(tmp_path: Path, name: str, value: object, said: str) -> None:
    before = {path: path.read_bytes() for path in _with_results(tmp_path).iterdir()}
    with pytest.raises(InputError) as caught:
        claim(tmp_path, {**FACTS, name: value})
    assert said in str(caught.value) and "choose another --output" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_without_results_is_free(tmp_path: Path) -> None:
    claim(tmp_path, FACTS)
    claim(tmp_path, {**FACTS, "protocol": "quick"})


def test_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"protocol": "guard-audit"}\n')
    with pytest.raises(InputError, match="its protocol is guard-audit, not quick"):
        claim(tmp_path, {**FACTS, "protocol": "quick"})
    claim(tmp_path, FACTS)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DeviceError, match="cannot write in"):
        claim(tmp_path / "out" / "x", FACTS)
