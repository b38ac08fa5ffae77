"""The one reader of TOML: a file against its keys, every mistake with file, line and key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from edgeguard.errors import InputError
from edgeguard.settings.check import kept, shown
from edgeguard.settings.declare import Key
from edgeguard.settings.lines import Path, key_lines, line_in, longest_key
from edgeguard.system.foreign import LARGEST_SETTINGS, read_bounded

VERSION = "schema"  # the key that says how to read the others
_MOST_SAID = 10
_MOST_TABLES = 1000  # of one name
_MOST_PARTS = 100  # of a dotted key; ours have three


@dataclass(frozen=True)
class Problem:
    """A mistake in a file.

    Attributes:
        path: of the key or the table.
        text: what is wrong, without the key; or the whole sentence where `key` is None.
        key: the key's name, where its value is wrong.
        value: what stands there.
    """

    path: Path
    text: str
    key: str | None = None
    value: Any = None

    @property
    def sentence(self) -> str:
        """All but the place."""
        return self.text if self.key is None else f"{self.key} {self.text}, got {shown(self.value)}"


def read_values(path: FilePath, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The checked values that stand in a configuration file; defaults are not filled in.

    A text that holds a number counts as that number, as it does in the environment.

    Args:
        path: a TOML file.
        keys: of the file; see `declare.keys_of` and `declare.file_of`.

    Raises:
        InputError: it cannot be read, is no TOML, or has unknown tables or keys, values that do not fit, or keys
            missing; all of them are said, each with file and line.
    """
    text, data = read_toml(path)
    return check_document(data, keys, str(path), text, from_text=True)


def read_toml(path: FilePath) -> tuple[str, dict[str, Any]]:
    """A file's text, and the same as plain data.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        text = read_bounded(path, LARGEST_SETTINGS, "the settings").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not TOML: it is no text (byte {error.start} is no UTF-8)") from error
    try:
        return text, parse_toml(text)
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """TOML as plain data.

    Raises:
        ValueError: it is no TOML, with line and column.
    """
    import tomllib  # compiles its expressions when it is imported, and --help reads no file

    if text.count(".") >= _MOST_PARTS and longest_key(text) > _MOST_PARTS:  # tomllib's time grows with the square
        raise ValueError(f"a key has more than {_MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def check_document(
    data: Mapping[str, Any],
    keys: Mapping[str, Key],
    origin: str,
    text: str = "",
    sentence: Callable[[Problem], str] = lambda problem: problem.sentence,
    *,
    from_text: bool = False,
) -> dict[str, Any]:
    """The checked values of a document, nested as it is; defaults are not filled in.

    Args:
        data: as TOML gives it.
        keys: see `read_values`.
        origin: names the file in errors; empty where there is none.
        text: the file's text, for the lines; none for data that has no lines.
        sentence: a problem in words.
        from_text: see `check.kept`.

    Raises:
        InputError: see `read_values`.
    """
    problems: list[Problem] = []
    found = _table(data, keys, (), problems, from_text)
    if not problems:
        return found
    version = [one for one in problems if one.path == (VERSION,) and one.key is not None]
    known = key_lines(text)
    said = [(line_in(known, one.path), sentence(one)) for one in version or problems]
    said.sort(key=lambda one: (one[0] is None, one[0]))
    lines = [f"{place(origin, line)}{words}" for line, words in said]
    more = [f"and {len(lines) - _MOST_SAID} more"] if len(lines) > _MOST_SAID else []
    raise InputError("; ".join(lines[:_MOST_SAID] + more))


def place(origin: str, line: int | None) -> str:
    """The beginning of an error: `FILE:LINE: `."""
    return "" if not origin else f"{origin}: " if line is None else f"{origin}:{line}: "


def _table(
    data: Mapping[str, Any], keys: Mapping[str, Key], path: Path, problems: list[Problem], from_text: bool
) -> dict[str, Any]:
    declared = {name: one for name, one in keys.items() if not one.rest}
    rest = next((one for one in keys.values() if one.rest), None)
    found: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in data.items():
        here = (*path, name)
        if name in declared:
            _value(declared[name], value, here, problems, found, from_text)
        elif rest is None:
            problems.append(Problem(here, _unknown(name, value, declared, path)))
        else:
            others[name] = value
    if missing := [repr(name) for name, one in declared.items() if one.is_required and name not in data]:
        which = f"required key{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        problems.append(Problem(path, f"{_title(path)}missing {len(missing)} {which}"))
    if rest is not None:
        found[rest.name] = others
    return found


def _value(key: Key, value: Any, path: Path, problems: list[Problem], found: dict[str, Any], from_text: bool) -> None:
    if key.table is None:
        try:
            found[key.name] = kept(key, value, from_text=from_text)
        except ValueError as error:
            problems.append(Problem(path, str(error), key.name, value))
    elif key.is_array or (key.many is not None and isinstance(value, list)):
        if isinstance(value, list) and len(value) > _MOST_TABLES:  # each is looked up among the others
            problems.append(Problem(path, f"a file has at most {_MOST_TABLES} tables [[{key.name}]], not {len(value)}"))
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            table = key.table if key.many is None else key.many
            found[key.name] = [
                _table(one, table, (*path, number), problems, from_text) for number, one in enumerate(value)
            ]
        else:
            problems.append(Problem(path, f"wants tables: at least one [[{key.name}]]", key.name, value))
    elif isinstance(value, dict):
        found[key.name] = _table(value, key.table, path, problems, from_text)
    else:
        problems.append(Problem(path, f"is a table: [{key.name}]", key.name, value))


def _unknown(name: str, value: Any, declared: Mapping[str, Key], path: Path) -> str:
    known = ", ".join(declared)
    if path:
        return f"{_title(path)}has no key {name!r}; known: {known}"
    if all(one.table is not None for one in declared.values()):
        if isinstance(value, dict | list):
            return f"there is no table [{name}]; known: {known}"
        homes = [table for table, one in declared.items() if one.table is not None and name in one.table]
        return f"{name!r} stands in no table; " + (f"put it below [{homes[0]}]" if homes else f"known: {known}")
    return f"unknown key {name!r}; known: {known}"


def _title(path: Path) -> str:
    """The table of a path: `[camera] `, `[[attack]] `, nothing for the file."""
    name = ".".join(str(part) for part in path if isinstance(part, str))
    return "" if not path else f"[[{name}]] " if isinstance(path[-1], int) else f"[{name}] "
