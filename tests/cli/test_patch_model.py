"""A patch is made on the model that was named, also in a folder that is gone on with."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeguard.cli.patch import _deployed


def test_another_model_is_converted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def convert(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command[4])
        Path(command[command.index("--output") + 1]).write_bytes(Path(command[4]).read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", convert)
    first, second = tmp_path / "a.pt2", tmp_path / "b.pt2"
    first.write_bytes(b"a")
    second.write_bytes(b"b")
    for _ in range(2):
        assert _deployed(first, tmp_path / "patch").read_bytes() == b"a"
        assert _deployed(second, tmp_path / "patch").read_bytes() == b"b"
    assert asked == [str(first), str(second)]
