"""Each step of a field test names the next command, which takes what it is given."""

import shlex
from pathlib import Path

import pytest
from commands import here

from edgeguard.cli.next_steps import after_patch, after_plan, after_record, after_score, after_sheet


@pytest.mark.parametrize(
    "line",
    [
        after_patch(Path("patch"), "no entry"),
        after_patch(Path("patch"), None),
        after_sheet(Path("my sheets/plain.pdf"), "stop", "plain"),
        after_sheet(Path("chart.pdf"), "chart", "clean"),
        after_plan(Path("my session"), [Path("clean.pdf"), Path("plain.pdf")]),
        after_record(Path("s"), None),
        after_score(Path("s")),
    ],
)
def test_the_commands_are_known(line: str) -> None:
    assert line.startswith("next: ") and len(line.splitlines()) == 1
    for part in line.split("edgeguard ")[1:]:
        words = shlex.split(part.split(" (")[0].split(", or ")[0].split(";")[0])
        done = here(*words[:2], "--help")
        flags = [word for word in words if word.startswith("--")]
        assert done.returncode == 0 and all(flag in done.stdout for flag in flags), (flags, done.stdout)


def test_names_with_spaces_are_quoted() -> None:
    assert "--card 'no entry' --arm plain --patch 'my patch'" in after_patch(Path("my patch"), "no entry")
    said = after_sheet(Path("my sheets/plain.pdf"), "", "plain")
    assert "clean.pdf 'my sheets/plain.pdf' noise.pdf patch.pdf" in said
