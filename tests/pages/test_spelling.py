"""Words that are spelled wrongly: in pages, in messages, in code. What is looked for are known mistakes, not all words
that no dictionary has: a page on quantizers has too many of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("codespell_lib", reason="its list of misspelled words is missing")

ROOT = Path(__file__).parents[2]
#: Wrong on purpose, or names.
_RIGHT = "mitre,caf,categor,thw,tittle,syntetic,yeld,ecret,notin"
_CODE = r"`[^`]*`|^ {4}.*|\]\([^)]*\)|^attack = .*|^defence = .*"


def misspelled(files: list[Path], builtin: str, ignored: str = "") -> list[str]:
    """What codespell finds, a line each: file, line, word, correction."""
    options = ["--builtin", builtin, "--ignore-words-list", _RIGHT]
    options += ["--ignore-regex", ignored] if ignored else []
    words = [sys.executable, "-m", "codespell_lib", *options, *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 65), done.stderr
    return done.stdout.splitlines()


def test_pages_are_spelled_as_in_america() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]
    assert len(pages) > 30 and misspelled(pages, "clear,rare,en-GB_to_en-US", _CODE) == []


def test_code_and_its_messages_have_no_known_mistakes() -> None:
    places = ("edgeguard", "converters", "examples", "firmware_configs", "benchmarks", "container", "tests", ".ci")
    files = [path for place in places for path in (ROOT / place).rglob("*") if path.suffix in _READ]
    assert len(files) > 500 and misspelled(files, "clear,rare") == []


_READ = {".py", ".toml", ".html", ".js", ".css", ".cpp", ".h", ".md", ".yml", ".yaml", ".sh"}


def test_a_wrong_word_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("It rec" + "ieves a frame\nthe colour of `colour`\n\n    colour = 1\n")
    found = misspelled([page], "clear,rare,en-GB_to_en-US", _CODE)
    assert [line.rpartition(":")[0].rpartition(":")[2] for line in found] == ["1", "2"]
