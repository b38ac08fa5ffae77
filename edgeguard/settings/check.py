"""A value against its key: msgspec says whether it fits, the declaration says what it should have been."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from edgeguard.errors import InputError
from edgeguard.settings.declare import Key

_SHOWN = 120


def kept(key: Key, value: Any, *, from_text: bool = False) -> Any:
    """The value of a key as it is kept: of the declared type, within bounds.

    2.0 is a whole number; true is none.

    Args:
        key: the declaration.
        value: as TOML, the environment or a flag gives it.
        from_text: a text that holds a number counts as that number where one is wanted.

    Raises:
        ValueError: the value does not fit; the text follows the key's name.
    """
    from msgspec import ValidationError, convert  # takes a tenth of a start, and --help checks nothing

    if from_text and key.type is bool and isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if key.type in (int, float) or (key.choices and isinstance(key.choices[0], int)):
        value = _number(key, value, from_text)
    try:
        found = convert(value, type_of(key))
    except (ValidationError, OverflowError) as error:
        raise ValueError(wanted(key, value)) from error
    if key.words is not None:
        if not re.fullmatch(key.words.pattern, found):  # `$` alone lets a last line break pass
            raise ValueError(key.wants or key.words.wants)
        if key.words.check is not None:
            found = key.words.check(found)
    return found if key.check is None else key.check(found)


def checked(key: Key, value: Any, what: str) -> Any:
    """As `kept`, from a flag or the environment, which may give numbers as texts.

    Raises:
        InputError: the value does not fit; the line begins with `what`.
    """
    try:
        return kept(key, value, from_text=True)
    except ValueError as error:
        raise InputError(f"{what} {error}, got {shown(value)}") from error


def check_saved(keys: Mapping[str, Key], values: Mapping[str, Any]) -> None:
    """Values that a command of ours wrote beside its result, and that somebody may have changed since.

    Raises:
        ValueError: one of them does not fit its key; the text names it.
    """
    for name, value in values.items():
        if name in keys and not _is_default(keys[name], value):
            try:
                kept(keys[name], value)
            except ValueError as error:
                raise ValueError(f"{name} {error}, got {shown(value)}") from error


def _is_default(key: Key, value: Any) -> bool:
    """A default stands for "not given", and need not be a value that one may give (no codecs, say)."""
    default = list(key.default) if isinstance(key.default, tuple) else key.default
    return type(value) is type(default) and bool(value == default)


def type_of(key: Key) -> Any:
    """A key's type with its bounds, for msgspec."""
    pattern = None if key.words is None else key.words.pattern
    if key.low is None and key.high is None and pattern is None:
        return key.type
    return _bounded(key.type, key.low, key.high, pattern)


@cache
def _bounded(kind: Any, low: float | None, high: float | None, pattern: str | None) -> Any:
    from msgspec import Meta

    said: dict[str, Any] = {"ge": low, "le": high, "pattern": pattern}
    return Annotated[kind, Meta(**said)]


def wanted(key: Key, value: Any) -> str:
    """What a wrong value is told, after the key's name."""
    if key.wants is not None:
        return key.wants
    if key.choices:
        return f"is one of {', '.join(map(str, key.choices))}"
    if key.type is bool:
        return "is true or false"
    if key.type in (int, float):
        assert key.low is not None and key.high is not None, f"{key.name} is a number without bounds"
        bounds = f"{key.low:g} to {key.high:g}"
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits and (key.type is float or isinstance(value, int)):
            return f"is {bounds}"
        return f"wants a{' whole' if key.type is int else ''} number from {bounds}"
    if key.words is not None:
        number = isinstance(value, int) and not isinstance(value, bool) and key.words.wants == "wants a text"
        return f'{key.words.wants} in quotes ("{shown(value)}")' if number else key.words.wants
    return f"wants a {key.values}" if key.values and key.type is not str else "wants a text"


def shown(value: Any) -> str:
    """A value in an error: on one line, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _number(key: Key, value: Any, from_text: bool) -> Any:
    kind = float if key.type is float else int
    if from_text and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return value
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
