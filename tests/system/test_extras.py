"""What a user is told to install is ours or named by its own name: `edgeguard` on the index is another project."""

import re
import tomllib
from pathlib import Path

import pytest

from edgeguard.system.extras import how_to_install, packages_of

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_no_line_names_the_project_on_the_index(extra: str) -> None:
    line = how_to_install(extra)
    assert "/bin/pip install " in line and not re.search(r"install '?edgeguard", line)
    assert ("WHEEL" in line) == (len(packages_of(extra)) not in (1, 2, 3))


def test_few_packages_are_named() -> None:
    assert packages_of("web") == ["jinja2"] and how_to_install("web").endswith("pip install jinja2")
    assert packages_of("all") == [] and packages_of("no such extra") == []


def test_no_message_and_no_page_has_another_line() -> None:
    places = [*ROOT.glob("edgeguard/**/*.py"), *ROOT.glob("converters/**/*.py"), *ROOT.glob("docs/**/*.md")]
    wrong = [p.name for p in (*places, ROOT / "README.md") if re.search(r"install '?edgeguard(\[|\s|')", p.read_text())]
    assert wrong == []
