"""The compose file and its commands: flags that exist, secrets that are files, nothing that can be written."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edgeguard.cli.main import app

FOLDER = Path(__file__).parents[2] / "container"
COMPOSE = (FOLDER / "compose.yaml").read_text()


def _services() -> dict[str, str]:
    """The text of each service."""
    body = COMPOSE.split("\nservices:\n")[1]
    names = re.findall(r"^  (\w+):", body, re.M)
    return dict(zip(names, re.split(r"^  \w+:.*\n", body, flags=re.M)[1:], strict=True))


def test_there_are_four_and_none_of_them_may_write() -> None:
    services = _services()
    assert set(services) == {"camera", "edgeguard", "broker", "prometheus"}
    assert all("<<: *hardened" in text for text in services.values())
    assert "read_only: true" in COMPOSE and "cap_drop: [ALL]" in COMPOSE and "no-new-privileges" in COMPOSE
    published = re.findall(r'ports: \["([^"]+)"\]', COMPOSE)
    assert published and all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", ["camera", "edgeguard"])
def test_its_commands_have_these_flags(name: str) -> None:
    words = shlex.split(_services()[name].split("command: >-")[1].split("volumes:")[0])
    commands: Any = typer.main.get_command(app)
    command = commands.commands[words[0]]
    known = {flag for parameter in command.params for flag in parameter.opts}
    flags = [word for word in words[1:] if word.startswith("--")]
    assert len(flags) >= 5 and set(flags) <= known


def test_the_image_is_not_root() -> None:
    text = (FOLDER / "Containerfile").read_text()
    assert re.search(r"^USER (?!0\b|root)\d+:\d+$", text, re.M)
    for line in (FOLDER / "others.Containerfile").read_text().splitlines():
        assert not line.startswith("USER") or not re.match(r"USER (0|root)", line)
    assert "container/secrets" in (FOLDER.parent / ".gitignore").read_text()
