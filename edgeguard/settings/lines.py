"""Where each key of a TOML text stands. The text has been read as TOML before: nothing here judges it."""

import json
import re
from collections.abc import Mapping

#: Names and, in arrays of tables, places: `("attack", 1, "steps")`.
Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_DOTTED = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_PARTS = re.compile(_PART)
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_TOKEN = re.compile(rf"(?P<part>{_PART})|(?P<dot>\.)|[ \t]+|(?P<other>.)", re.DOTALL)
#: What a value is made of: texts, comments, brackets, ends of lines, and all else.
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*|[\[\]{}\n]|[^"'#\[\]{}\n]+''',
    re.DOTALL,
)


def longest_key(text: str) -> int:
    """How many parts the longest dotted key of a text has, at most; the text need be no TOML yet.

    Example:
        >>> longest_key("a.b.c = 1.5")
        3
    """
    most = dots = 0
    behind_part = False
    for token in _KEY_TOKEN.finditer(text):
        if token["dot"] and behind_part:
            dots += 1
            most = max(most, dots)
        elif token["dot"] or token["other"]:
            dots = 0
        behind_part = token["part"] is not None or (behind_part and not (token["dot"] or token["other"]))
    return most + 1


def line_of(text: str, path: Path) -> int | None:
    r"""The line, from 1, of a key or a table; of what holds it where it has no line of its own; None for neither.

    Example:
        >>> line_of("[a]\nb = 1", ("a", "b"))
        2
    """
    return line_in(key_lines(text), path)


def line_in(known: Mapping[Path, int], path: Path) -> int | None:
    """As `line_of`, from the lines of all keys."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path)


def key_lines(text: str) -> dict[Path, int]:
    """The lines of all keys and tables that have one of their own (inline tables are values)."""
    found: dict[Path, int] = {}
    places: dict[Path, int] = {}  # the last element of each array of tables
    table: Path = ()
    at, counted, line = _end_of(_BETWEEN, text, 0), 0, 1
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        opened = len(text[at : at + 2]) - len(text[at : at + 2].lstrip("["))
        match = _DOTTED.match(text, _end_of(_BETWEEN, text, at + opened))
        if match is None:
            break
        parts = [_plain(part) for part in _PARTS.findall(match[0])]
        if opened:
            table = _placed(parts, places, opened == 2)
            _note(found, table, line)
            end = text.find("\n", match.end())
            at = len(text) if end < 0 else end
        else:
            _note(found, (*table, *parts), line)
            at = _end_of_value(text, match.end())
        at = _end_of(_BETWEEN, text, at)
    return found


def _note(found: dict[Path, int], path: Path, line: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], line)


def _placed(parts: list[str], places: dict[Path, int], is_array: bool) -> Path:
    path: Path = ()
    for number, part in enumerate(parts, start=1):
        path = (*path, part)
        if is_array and number == len(parts):
            places[path] = places.get(path, -1) + 1
        if path in places:
            path = (*path, places[path])
    return path


def _plain(part: str) -> str:
    if part.startswith('"'):
        try:
            return str(json.loads(part))
        except ValueError:  # TOML knows escapes that JSON does not
            return part[1:-1]
    return part.strip("'")


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return len(text)
        if match[0] == "\n" and depth == 0:
            return at
        depth += (match[0] in "[{") - (match[0] in "]}")
        at = match.end()
    return at
