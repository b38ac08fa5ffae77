"""A patch is made on the model that was named, also in a folder that is gone on with."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import here

from edgeguard.cli.patch_model import deployed_model
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that were converted: `convert` copies them, and the user's cache is an empty one."""
    models: list[str] = []

    def convert(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        models.append(command[4])
        Path(command[command.index("--output") + 1]).write_bytes(Path(command[4]).read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", convert)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return models


def test_another_model_is_converted_anew(tmp_path: Path, asked: list[str]) -> None:
    first, second = tmp_path / "a.pt2", tmp_path / "b.pt2"
    first.write_bytes(b"a")
    second.write_bytes(b"b")
    (tmp_path / "patch").mkdir()
    for _ in range(2):
        assert deployed_model(first, tmp_path / "patch").read_bytes() == b"a"
        assert deployed_model(second, tmp_path / "patch").read_bytes() == b"b"
    assert asked == [str(first), str(second)]


def test_a_converted_model_that_came_with_the_folder_is_not_believed(tmp_path: Path, asked: list[str]) -> None:
    model, folder = tmp_path / "a.pt2", tmp_path / "patch"
    model.write_bytes(b"a")
    folder.mkdir()
    prepared = folder / f"model-float32-{hashlib.sha256(b'a').hexdigest()[:16]}.tflite"
    prepared.write_bytes(b"a stranger's")
    assert deployed_model(model, folder).read_bytes() == b"a"
    prepared.write_bytes(b"changed afterwards")
    assert deployed_model(model, folder).read_bytes() == b"a"
    assert len(asked) == 2


def test_a_link_in_its_place_is_refused(tmp_path: Path, asked: list[str]) -> None:
    model, folder = tmp_path / "a.pt2", tmp_path / "patch"
    model.write_bytes(b"a")
    folder.mkdir()
    (folder / f"model-float32-{hashlib.sha256(b'a').hexdigest()[:16]}.tflite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        deployed_model(model, folder)
    assert not asked


def test_without_a_cache_it_is_converted_again(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "a.pt2").write_bytes(b"a")
    (tmp_path / "patch").mkdir()
    for _ in range(2):
        assert deployed_model(tmp_path / "a.pt2", tmp_path / "patch").read_bytes() == b"a"
    assert len(asked) == 2


def test_a_refusal_keeps_what_was_converted(tmp_path: Path, asked: list[str]) -> None:
    """Minutes of work went with a target that was mistyped."""
    pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")
    model, folder = tmp_path / "a.pt2", tmp_path / "patch"
    model.write_bytes(bundled_model().read_bytes())
    for _ in range(2):
        done = here("patch", "make", model, "--target", "unheard", "--output", folder)
        assert done.returncode == 2 and "unheard" in done.stderr, done
        assert [path.suffix for path in folder.iterdir()] == [".tflite"]
    assert asked == [str(model)]
