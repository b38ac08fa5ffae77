"""Building a document anew from the parts of a stranger's that are known: what is not named here is left behind."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from edgeguard_converters.load.refused import PickleRefused

#: Returns what goes into the new document, or raises `ValueError`.
Rule = Callable[[Any], Any]
_LARGEST = 1 << 63


def record(fields: Mapping[str, Rule]) -> Rule:
    """A rule for an object with these fields; one that is missing stays missing, any other is left behind."""

    def apply(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("an object was wanted")
        return {name: rule(value[name]) for name, rule in fields.items() if name in value}

    return apply


def one_of(choices: Mapping[str, Rule]) -> Rule:
    """A rule for an object with exactly one of these fields."""

    def apply(value: Any) -> Any:
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError("one of several was wanted")
        ((name, inner),) = value.items()
        if name not in choices:
            raise ValueError(f"{name[:40]!r} is not allowed")
        return {name: choices[name](inner)}

    return apply


def each(rule: Rule) -> Rule:
    """A rule for a list."""

    def apply(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("a list was wanted")
        return [rule(item) for item in value]

    return apply


def by_name(name: Rule, rule: Rule) -> Rule:
    """A rule for an object whose keys are data."""

    def apply(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("an object was wanted")
        return {name(key): rule(item) for key, item in value.items()}

    return apply


def optional(rule: Rule) -> Rule:
    """A rule for a value that may be null."""
    return lambda value: None if value is None else rule(value)


def text(pattern: str) -> Rule:
    """A rule for a text that matches a pattern as a whole."""
    compiled = re.compile(pattern, re.ASCII)

    def apply(value: Any) -> Any:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"{str(value)[:60]!r} is not allowed there")
        return value

    return apply


def integer(value: Any) -> Any:
    """A whole number."""
    if type(value) is not int or abs(value) > _LARGEST:
        raise ValueError("a number was wanted")
    return value


def number(value: Any) -> Any:
    """A number, or what JSON lacks: `Infinity`, `NaN`."""
    if type(value) not in (int, float) and value not in ("Infinity", "-Infinity", "NaN"):
        raise ValueError("a number was wanted")
    return value


def flag(value: Any) -> Any:
    """True or false."""
    if type(value) is not bool:
        raise ValueError("true or false was wanted")
    return value


def always(constant: Any) -> Rule:
    """A rule that puts the same value there, whatever stood in the file."""
    return lambda value: constant


def rebuilt(rule: Rule, value: Any, where: str) -> Any:
    """The new document.

    Raises:
        PickleRefused: something in the old one is not allowed.
    """
    try:
        return rule(value)
    except PickleRefused:
        raise
    except (ValueError, RecursionError, TypeError) as error:
        raise PickleRefused(f"{where}: {error}; refused") from error
