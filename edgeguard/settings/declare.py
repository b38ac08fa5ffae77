"""What is known of each key: a frozen dataclass for each table, its fields annotated with `key(...)`.

    @dataclass(frozen=True)
    class Camera:
        camera_fps: Annotated[float, key("Frames a second to ask of a local camera.", low=0.1, high=1000)] | None = None

msgspec checks the values and writes their JSON Schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

#: A value to the value that is kept; ValueError says what it should have been.
Check = Callable[[Any], Any]


def key(
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str | None = None,
    wants: str | None = None,
    check: Check | None = None,
    values: str | None = None,
    rest: bool = False,
    schema: Mapping[str, Any] | None = None,
) -> Meta:
    """The annotation of a key.

    Args:
        description: one line, for people.
        low, high: bounds of a number, both included.
        unit: of a number.
        wants: what a wrong value is told, after the key's name; by default it follows from the type.
        check: called with a value of the right type and within bounds, for what a type cannot say.
        values: which values there are, in words, where the type does not say it.
        schema: what JSON Schema says of its values, where the type says too little.
        rest: the key is not in the file; it takes, as a dict, all the table's keys that are not declared.
    """
    extra = {"wants": wants, "check": check, "values": values, "rest": rest or None}
    return Meta(
        description=description,
        ge=low,
        le=high,
        extra={name: value for name, value in extra.items() if value is not None},
        extra_json_schema={**(schema or {}), **({} if unit is None else {"unit": unit})},
    )


def version(number: int) -> Meta:
    """The annotation of `schema`, the key that says how to read the others: `Annotated[Literal[1], version(1)]`."""
    return key("Version of the file format.", wants=f"must be {number}: this version reads schema {number}")


def _in_words(pattern: str, wants: str, values: str, check: Check | None = None) -> Meta:
    extra: dict[str, Any] = {"wants": wants, "values": values}
    return Meta(pattern=pattern, extra=extra if check is None else {**extra, "check": check})


def _port_checked(address: str) -> str:
    if int(address.rpartition(":")[2]) > 65535:
        raise ValueError("has a port beyond 65535")
    return address


#: A text that is not empty and has no control characters.
Text = Annotated[str, _in_words(r"^[^\x00-\x1f]+$", "wants a text", "text")]
#: The size of a picture, like `1280x720`.
PictureSize = Annotated[
    str, _in_words(r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$", "wants WIDTHxHEIGHT, like 1280x720", "WIDTHxHEIGHT")
]
#: Where to listen, like `127.0.0.1:8080`.
Address = Annotated[
    str,
    _in_words(
        r"^([\w.\-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$",
        "wants HOST:PORT, like 127.0.0.1:8080",
        "HOST:PORT",
        _port_checked,
    ),
]


@dataclass(frozen=True)
class Key:
    """A key as it is declared.

    Attributes:
        name: in the file.
        hint: its annotated type, without None.
        base: the same without annotations.
        optional: None is its default, and stands for "not given".
        default: `dataclasses.MISSING` where the key has to be given.
        table: of a table, or of each table of an array: its dataclass; else None.
        is_array: it is an array of tables.
        low, high, unit, pattern, description: as declared.
        wants, check, values, rest: see `key`.
    """

    name: str
    hint: Any
    base: Any
    optional: bool
    default: Any
    table: type | None = None
    is_array: bool = False
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    pattern: str | None = None
    description: str = ""
    wants: str | None = None
    check: Check | None = None
    values: str | None = None
    rest: bool = False

    @property
    def is_required(self) -> bool:
        """Whether the key has to be given."""
        return self.default is MISSING

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that there are, where they are few."""
        return get_args(self.base) if get_origin(self.base) is Literal else ()


def keys_of(kind: type) -> dict[str, Key]:
    """The keys of a table's dataclass, in the order of its fields."""
    return _keys_of(kind)


@cache
def _keys_of(kind: Any) -> dict[str, Key]:
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for one in fields(kind):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        found[one.name] = _key(one.name, hints[one.name], default)
    return found


def tables_of(kind: type) -> dict[str, type]:
    """The dataclasses of a file's tables, by name."""
    return {name: one.table for name, one in keys_of(kind).items() if one.table is not None}


def _key(name: str, hint: Any, default: Any) -> Key:
    annotations: list[Any] = []
    hint, optional = _without_none(hint, annotations)
    base = hint
    if get_origin(hint) is Annotated:
        base, *mine = get_args(hint)
        annotations = mine + annotations
    arguments = get_args(base)
    is_array = len(arguments) > 0 and is_dataclass(arguments[0])
    table: type | None = arguments[0] if is_array else base if isinstance(base, type) and is_dataclass(base) else None
    said: dict[str, Any] = {}
    for meta in annotations:
        if isinstance(meta, Meta):
            plain = {"low": meta.ge, "high": meta.le, "pattern": meta.pattern, "description": meta.description}
            unit = (meta.extra_json_schema or {}).get("unit")
            said |= {key: value for key, value in {**plain, "unit": unit}.items() if value is not None}
            said |= meta.extra or {}
    return Key(name, hint, base, optional, default, table, is_array, **said)


def _without_none(hint: Any, annotations: list[Any]) -> tuple[Any, bool]:
    """A type without its None; what annotates the union as a whole is put into `annotations`."""
    inner = hint
    if get_origin(hint) is Annotated and get_origin(get_args(hint)[0]) in (Union, UnionType):
        inner, *mine = get_args(hint)
        annotations.extend(mine)
    if get_origin(inner) not in (Union, UnionType):
        return hint, False
    others = [one for one in get_args(inner) if one is not NoneType]
    optional = len(others) < len(get_args(inner))
    return (others[0] if len(others) == 1 else inner), optional
