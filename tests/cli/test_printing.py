"""Commands print through one function, so that no name reaches the terminal raw."""

import ast
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli.launch import run
from commands import here

import edgeguard.cli
from edgeguard.demo.assets import bundled_model

STEERING = "\x1b]0;mine\x07\x1b[2J\x9b31m"
_ALLOWED = {"messages.py", "progress.py"}


def test_no_command_prints_by_itself() -> None:
    for path in sorted(Path(edgeguard.cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name not in _ALLOWED:
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"), (
                    f"{path.name}:{node.lineno}: {called}: use cli.messages"
                )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and a broken one, under names that would steer a terminal, one of them no text at all."""
    images = tmp_path / "images"
    images.mkdir()
    picture = cv2.imencode(".png", np.full((240, 320, 3), 90, np.uint8))[1].tobytes()
    for name, data in (
        (f"a{STEERING}.png".encode(), picture), (b"b\xff\n.png", picture), (f"c{STEERING}\n.png".encode(), b"no"),
    ):  # fmt: skip
        (images / os.fsdecode(name)).write_bytes(data)
    return images


@pytest.mark.parametrize("more", [(), ("--json",), ("--output", "-")])
def test_names_of_files_and_labels(folder: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    labels = tmp_path / "labels.txt"
    count = len(json.loads(here("model", "show", bundled_model(), "--json").stdout)["contract"]["labels"])
    labels.write_text("\n".join(f"\x9b31m{n}" for n in range(count)))
    command = here if not more or more == ("--json",) else run  # a process has a real standard output
    done = command("run", "--source", folder, "--labels", labels, *more)
    assert done.returncode == 1 and "1 frames could not be read" in done.stderr
    for text in (done.stdout, done.stderr):
        assert all(line.isprintable() for line in text.split("\n")), text
    if more == ("--output", "-"):
        sources = [json.loads(line)["source"] for line in done.stdout.splitlines()]
        assert sources == [f"a{STEERING}.png", "b\udcff\n.png"]


def test_what_is_refused_is_named_printably(tmp_path: Path) -> None:
    for name in (f"{STEERING}.tflite", "no\nsuch.tflite"):
        done = here("model", "show", tmp_path / name)
        assert done.returncode in (2, 3) and done.stderr.count("\n") == 1 and done.stderr[:-1].isprintable()
