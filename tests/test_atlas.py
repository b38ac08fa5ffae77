"""The page of ATLAS is that of its table, and the tests that it names are there."""

import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_that_of_the_table() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "draw_atlas.py"))["page"]()
    assert (ROOT / "docs" / "atlas.md").read_text("utf-8") == made, "make it again: python docs/draw_atlas.py"


def test_named_tests_and_commands_are_there() -> None:
    table = tomllib.loads((ROOT / "docs" / "atlas.toml").read_text("utf-8"))
    names = [one["id"] for part in ("technique", "mitigation") for one in table[part]]
    assert len(set(names)) == len(names)
    for one in table["technique"]:
        assert (ROOT / one["test"]).is_file(), one["test"]
