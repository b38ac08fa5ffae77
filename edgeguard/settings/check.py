"""A value against its key: msgspec says whether it fits, the declaration says what it should have been."""

import re
from typing import Any

import msgspec

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
    if key.base in (int, float) or (key.choices and isinstance(key.choices[0], int)):
        value = _number(key, value, from_text)
    try:
        found = msgspec.convert(value, key.hint)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(wanted(key, value)) from error
    if key.pattern is not None and not re.fullmatch(key.pattern, found):  # `$` alone lets a last line break pass
        raise ValueError(wanted(key, value))
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


def wanted(key: Key, value: Any = None) -> str:
    """What a wrong value is told, after the key's name."""
    if key.wants is not None:
        return key.wants
    if key.choices:
        return f"is one of {', '.join(map(str, key.choices))}"
    if key.base is bool:
        return "is true or false"
    if key.base in (int, float):
        whole = " whole" if key.base is int else ""
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits and (key.base is float or isinstance(value, int)):
            return f"is {bounds(key)}"
        return f"wants a{whole} number from {bounds(key)}"
    if key.base is str:
        return "wants a text"
    return f"wants {key.values or 'another value'}"


def bounds(key: Key) -> str:
    """The bounds of a number, `1 to 10`."""
    assert key.low is not None and key.high is not None, f"{key.name} is a number without bounds"
    return f"{key.low:g} to {key.high:g}"


def shown(value: Any) -> str:
    """A value in an error: on one line, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _number(key: Key, value: Any, from_text: bool) -> Any:
    kind = float if key.base is float else int
    if from_text and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return value
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
