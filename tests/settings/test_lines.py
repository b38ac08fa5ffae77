"""Where keys stand in a TOML text."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgeguard.settings.lines import key_lines, line_of
from edgeguard.settings.reader import parse_toml

ROOT = Path(__file__).parents[2]
TEXT = '''\
# [not.a.table]
first = """
[fake]
key = 1
""" # end
"quoted key" = 'x # no comment'  # a comment
list = [
  1, # [b]
  "]",
]
a.b.c = 3
inline = { x = 1, y = [2, 3] }

[ table ]   # spaces
key = '\\'
  indented = 1
[table."sub.part"]
key = 2
[[array]]
name = "one"
[[array]]
name = "two"
[array.sub]
name = "three"
[[array.inner]]
[[array.inner]]
name = "four"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("first",), 2),
        (("quoted key",), 6),
        (("list",), 7),
        (("a",), 11),
        (("a", "b", "c"), 11),
        (("inline",), 12),
        (("inline", "y"), 12),
        (("table",), 14),
        (("table", "key"), 15),
        (("table", "indented"), 16),
        (("table", "sub.part", "key"), 18),
        (("array",), 19),
        (("array", 0), 19),
        (("array", 0, "name"), 20),
        (("array", 1, "name"), 22),
        (("array", 1, "sub", "name"), 24),
        (("array", 1, "inner", 1, "name"), 27),
        (("array", 1, "missing"), 21),
        (("nothing",), None),
        ((), None),
    ],
)
def test_each_key_has_its_line(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line
    assert "fake" not in tomllib.loads(TEXT)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [path, *(p for key, one in value.items() for p in _paths(one, (*path, key)))]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [path, *(p for place, one in enumerate(value) for p in _paths(one, (*path, place)))]
    return [path]


@pytest.mark.parametrize(
    "file",
    [
        *sorted((ROOT / "examples").glob("*.toml")),
        *sorted((ROOT / "firmware_configs").glob("*.toml")),
        *sorted((ROOT / "edgeguard/evaluate/protocols").glob("*.toml")),
    ],
    ids=lambda path: path.name,
)
def test_every_key_of_our_files_stands_in_its_line(file: Path) -> None:
    text = file.read_text("utf-8")
    known = key_lines(text)
    written = {path for path in _paths(tomllib.loads(text)) if path}
    assert set(known) <= written
    for path in written:
        line = text.splitlines()[(line_of(text, path) or 0) - 1]
        assert next(part for part in reversed(path) if isinstance(part, str)) in line
        assert path in known or "{" in line  # keys of inline tables stand in the line of what holds them


@pytest.mark.parametrize(
    "text", ["a" + ".a" * 200_000 + " = 1", "[a" + " . 'a'" * 100_000 + "]", 'x = {"a"' + '."a"' * 100_000 + " = 1}"]
)
def test_a_key_of_very_many_parts_is_refused_before_it_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="a key has more than 100 parts"):
        parse_toml(text)


def test_dots_elsewhere_are_no_keys() -> None:
    numbers = ", ".join(["1.5"] * 500)
    assert parse_toml(f"a.b = [{numbers}]\n# {'. ' * 300}\nc = '{'. ' * 300}'")["a"] == {"b": [1.5] * 500}
