"""A key of a settings file is a field of a frozen dataclass, made by `key`.

    @dataclass(frozen=True)
    class Settings:
        lost_after: float = key("Seconds without a frame: lost.", 3.0, low=0.2, high=3600, unit="s", table="camera")

Command lines declare their flags with it: nothing heavy is imported here.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

#: A value to the value that is kept; ValueError says what it should have been.
Check = Callable[[Any], Any]
_META = "edgeguard"


@dataclass(frozen=True, eq=False, repr=False)
class Words:
    """A kind of text.

    Attributes:
        pattern: what matches it, from `^` to `$`.
        wants: what another text is told, after the key's name.
        values: its name for people.
        check: for what a pattern cannot say.
    """

    pattern: str
    wants: str
    values: str
    check: Check | None = None


def _port_checked(address: str) -> str:
    if int(address.rpartition(":")[2]) > 65535:
        raise ValueError("has a port beyond 65535")
    return address


#: A text that is not empty and has no control characters.
TEXT = Words(r"^[^\x00-\x1f]+$", "wants a text", "text")
#: The size of a picture, like `1280x720`.
PICTURE_SIZE = Words(r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$", "wants WIDTHxHEIGHT, like 1280x720", "WIDTHxHEIGHT")
#: Where to listen, like `127.0.0.1:8080`.
ADDRESS = Words(
    r"^([\w.\-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$", "wants HOST:PORT, like 127.0.0.1:8080", "HOST:PORT", _port_checked
)


def key(
    description: str,
    default: Any = MISSING,
    *,
    factory: Any = MISSING,
    table: str | None = None,
    low: float | None = None,
    high: float | None = None,
    unit: str | None = None,
    words: Words | None = None,
    wants: str | None = None,
    values: str | None = None,
    check: Check | None = None,
    rest: bool = False,
    schema: Mapping[str, Any] | None = None,
) -> Any:
    """A field of a dataclass that is a key of a file.

    Args:
        description: one line, for people.
        default: without one the key has to be given. None stands for "not given" and is no value in a file.
        factory: makes the default, where it can be changed.
        table: of the file that it stands in; None for the file itself, or where the dataclass is a table.
        low, high: bounds of a number, both included.
        unit: of a number.
        words: which texts it takes; by default any.
        wants: what a wrong value is told, after the key's name; by default it follows from the type.
        values: which values there are, in words, where the type does not say it.
        check: called with a value of the right type and within bounds, for what a type cannot say.
        rest: the key is not in the file; it takes, as a dict, all the table's keys that are not declared.
        schema: what JSON Schema says of its values, where the type says too little.
    """
    said = {
        "description": description, "group": table, "low": low, "high": high, "unit": unit, "words": words,
        "wants": wants, "values": values, "check": check, "rest": rest, "schema": schema,
    }  # fmt: skip
    return field(default=default, default_factory=factory, metadata={_META: said})


def version(number: int) -> Any:
    """The key `schema`, which says how to read the others; its type is `Literal[number]`."""
    return key("Version of the file format.", wants=f"must be {number}: this version reads schema {number}")


@dataclass(frozen=True, eq=False, repr=False)
class Key:
    """A key as it is declared; see `key`.

    Attributes:
        name: in the file.
        type: of its values, without None.
        default: `dataclasses.MISSING` where the key has to be given.
        table: the keys of the table, or of each table of an array, that it is; else None.
        is_array: it is an array of tables.
        many: the keys of each table where an array of tables may stand in place of the table; else None.
        group: the table of the file that it stands in.
    """

    name: str
    type: Any
    default: Any
    description: str = ""
    table: "Mapping[str, Key] | None" = None
    is_array: bool = False
    group: str | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    words: Words | None = None
    wants: str | None = None
    values: str | None = None
    check: Check | None = None
    rest: bool = False
    schema: Mapping[str, Any] | None = None
    many: "Mapping[str, Key] | None" = None

    @property
    def is_required(self) -> bool:
        """Whether the key has to be given."""
        return self.default is MISSING

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that there are, where they are few."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def range(self) -> str | None:
        """Which values it takes, in words; None for any text."""
        if self.values is not None:
            return self.values
        if self.choices:
            return ", ".join(map(str, self.choices))
        if self.type is bool:
            return "true, false"
        if self.low is not None and self.high is not None:
            unit = f" {self.unit}" if self.unit else ""
            return f"{plain(self.low)} to {plain(self.high)}{unit}{'' if self.type is float else ', whole'}"
        return None if self.words is None or self.words is TEXT else self.words.values

    @property
    def help(self) -> str:
        """For a flag: description, values, unit, default.

        Example:
            >>> keys_of(Settings)["lost_after"].help  # doctest: +SKIP
            'Seconds without a frame: lost. [0.2 to 3600 s; default 3]'
        """
        said = [] if self.range is None else [self.range]
        if self.default is not MISSING and self.default is not None and self.default != "":
            said.append(f"default {plain(self.default)}")
        return f"{self.description} [{'; '.join(said)}]" if said else self.description


def keys_of(kind: type) -> dict[str, Key]:
    """The keys that a dataclass declares, in the order of its fields."""
    return _keys_of(kind)


@cache
def _keys_of(kind: Any) -> dict[str, Key]:
    return {one.name: _key(one) for one in fields(kind) if _META in one.metadata}


def file_of(kind: type) -> dict[str, Key]:
    """The keys of a file whose tables' keys one dataclass holds side by side: a key for each table."""
    tables: dict[str, dict[str, Key]] = {}
    for name, one in keys_of(kind).items():
        assert one.group is not None, f"{name} stands in no table"
        tables.setdefault(one.group, {})[name] = one
    return {name: Key(name, dict, None, table=keys) for name, keys in tables.items()}


def plain(value: Any) -> str:
    """A value for people: numbers without exponents, lists without brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _key(one: Any) -> Key:
    default = one.default if one.default_factory is MISSING else one.default_factory()
    kind = one.type
    if get_origin(kind) in (Union, UnionType):
        others = tuple(part for part in get_args(kind) if part is not NoneType)
        kind = Union[others]  # noqa: UP007  # the types are not known before
    arguments = get_args(kind)
    element = arguments[0] if arguments and hasattr(arguments[0], "__dataclass_fields__") else None
    table = None if element is None else keys_of(element)
    return Key(one.name, kind, default, table=table, is_array=table is not None, **one.metadata[_META])
