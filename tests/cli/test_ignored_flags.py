"""Every flag of every command: when it would have no effect, and that it is then refused by name.

`flag_table.py` has a line for each flag. A flag that always has an effect says `ALWAYS`; the others give command lines
in which it would be ignored, alone where the refusal begins with the flag, else beside what the refusal says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli.flag_table import TABLE
from cli.launch import refused, run
from commands import here

from edgeguard.cli.main import app


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """Each command with its flags, from the parser itself."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        options = {parameter.opts[0] for parameter in command.params if parameter.param_type_name == "option"}
        yield " ".join(path), options


def test_a_folder_that_is_called_like_a_camera_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0").mkdir()
    monkeypatch.chdir(tmp_path)
    done = here("run", "--source", "0", "--lost-after", "5")
    assert "--lost-after" not in done.stderr and done.returncode == 3


def test_the_table_has_every_flag_of_every_command() -> None:
    found = dict(_commands(typer.main.get_command(app)))
    assert {command: set(flags) for command, flags in TABLE.items()} == found


#: Of `convert` these are tried in `make test`, the others in `make test-full`.
QUICK_CONVERT = ("--place", "--arch")

IGNORED = [
    pytest.param(
        command,
        *((line, f"edgeguard: {flag} ") if isinstance(line, str) else line),
        id=f"{command} {flag}",
        marks=[pytest.mark.full] if command == "convert" and flag not in QUICK_CONVERT else [],  # a process with torch
    )
    for command, flags in TABLE.items()
    for flag, lines in flags.items()
    if isinstance(lines, list)
    for line in lines
]


@pytest.mark.parametrize(("command", "line", "said"), IGNORED)
def test_a_flag_without_effect_is_refused(
    command: str, line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    if command in ("convert", "evaluate run", "train"):
        pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")
    if command == "convert":  # goes on in a child
        done = run(command, *line.split(), "--output", tmp_path / "made.tflite")
    else:
        done = here(*command.split(), *line.split())
    refused(done, 2, said)
    assert list(tmp_path.iterdir()) == [key], "nothing was written"
