"""Settings in a TOML file: tables of keys, each with a check, refused with file and line."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError

#: A value to the value that is kept; ValueError says what it should have been.
Check = Callable[[Any], Any]


def text(value: Any) -> str:
    """A text without control characters."""
    if not isinstance(value, str) or not value or any(ord(c) < 32 for c in value):
        raise ValueError("wants a text")
    return value


def number(low: float, high: float, kind: type = float) -> Check:
    """A number within bounds, both included."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = kind(value)
            except ValueError:
                raise ValueError(f"wants a number from {low:g} to {high:g}") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and value != int(value)):
            raise ValueError(f"wants {'a whole' if kind is int else 'a'} number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise ValueError(f"is {low:g} to {high:g}")
        return kind(value)

    return check


def one_of(*names: str) -> Check:
    """One of some words."""

    def check(value: Any) -> Any:
        if value not in names:
            raise ValueError(f"is one of {', '.join(names)}")
        return value

    return check


def read_settings(path: Path, known: Mapping[str, Mapping[str, Check]]) -> dict[str, Any]:
    """The checked values of a file's tables, by key (keys are unique over all tables).

    Args:
        path: a TOML file.
        known: the tables, their keys, and how each value is checked.

    Raises:
        InputError: it cannot be read, is no TOML, or has an unknown table or key or a value out of bounds.
    """
    try:
        content = path.read_text(encoding="utf-8")
        data = tomllib.loads(content)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    found = dict[str, Any]()
    for table, keys in data.items():
        if table not in known or not isinstance(keys, dict):
            where = _line(content, None, table)
            raise InputError(f"{path}{where}: there is no table [{table}]; known: {', '.join(known)}")
        for key, value in keys.items():
            where = f"{path}{_line(content, table, key)}"
            if key not in known[table]:
                raise InputError(f"{where}: [{table}] has no key {key!r}; known: {', '.join(known[table])}")
            found[key] = checked(known[table][key], value, f"{where}: {key}")
    return found


def checked(check: Check, value: Any, what: str) -> Any:
    """The value that a check keeps.

    Raises:
        InputError: the check refuses it; the line begins with `what`.
    """
    try:
        return check(value)
    except ValueError as error:
        raise InputError(f"{what} {error}, got {value!r}") from error


def _line(content: str, table: str | None, key: str) -> str:
    """`:N` where a key of a table (or a table, for None) stands in the file; empty where it is not found."""
    current: str | None = None
    for number, line in enumerate(content.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith("["):
            current = bare.strip("[] \t\"'").split("]")[0].strip()
            if table is None and current.split(".")[0] == key:
                return f":{number}"
        elif current == table and "=" in bare and bare.split("=")[0].strip().strip("\"'").split(".")[0] == key:
            return f":{number}"
        if table is not None and current is None and bare.startswith((f"{table}.{key}", f"{table} =", f"{table}=")):
            return f":{number}"
    return ""
