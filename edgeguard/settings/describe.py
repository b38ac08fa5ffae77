"""What people and programs are told of the keys: help of flags, tables for documents, JSON Schema."""

from dataclasses import MISSING
from typing import Any

from edgeguard.settings.declare import Key, keys_of

TEXT = "text"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def help_text(kind: type, name: str) -> str:
    """The help of a key's flag: description, values, unit, default.

    Example:
        >>> help_text(Settings, "lost_after")  # doctest: +SKIP
        'Seconds without a frame: lost. [0.2 to 3600 s; default 3]'
    """
    key = keys_of(kind)[name]
    said = [] if _values(key) == TEXT else [_values(key)]
    if not (key.is_required or key.default is None or key.default == ""):
        said.append(f"default {_plain(key.default)}")
    return f"{key.description} [{'; '.join(said)}]" if said else key.description


def markdown_tables(kind: type) -> str:
    """The keys of a file for a document: a Markdown table for the file and for each of its tables."""
    return "\n".join(_markdown(kind, ""))


def json_schema(kind: type, title: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a file; `unit` beside each number that has one.

    Texts that the reader takes as numbers (`every = "3"`) are none here, and what only the reader can check (that a
    codec's name is one, say) is not said.
    """
    return {"$schema": DRAFT, "title": title, **_object(kind)}


def _object(kind: type) -> dict[str, Any]:
    keys = {name: one for name, one in _ordered(kind).items() if not one.rest}
    required = [name for name, one in keys.items() if one.is_required]
    return {
        "type": "object",
        "properties": {name: _property(one) for name, one in keys.items()},
        **({"required": required} if required else {}),
        "additionalProperties": len(keys) < len(keys_of(kind)),
    }


def _ordered(kind: type) -> dict[str, Key]:
    """The keys of a table, the version of the format first."""
    return dict(sorted(keys_of(kind).items(), key=lambda one: one[0] != "schema"))


def _property(key: Key) -> dict[str, Any]:
    said = {"description": key.description} if key.description else {}
    if key.table is not None:
        table = _object(key.table)
        return {**said, **({"type": "array", "minItems": 1, "items": table} if key.is_array else table)}
    import msgspec  # its writer of schemas is loaded where one is wanted

    found: dict[str, Any] = {**msgspec.json.schema(key.hint), **said}
    if key.choices:
        found["enum"] = list(key.choices)  # in the order of the declaration
    if key.default is not MISSING and key.default is not None:
        found["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    return found


def _markdown(kind: type, title: str) -> list[str]:
    keys = _ordered(kind)
    lines = []
    plain = [one for one in keys.values() if one.table is None and not one.rest]
    if plain:
        lines += [f"| {f'`{title}`' if title else 'key'} | values | default | |", "|---|---|---|---|"]
        for key in plain:
            default = (
                "required" if key.is_required else "" if key.default in (None, "", (), {}) else _plain(key.default)
            )
            lines.append(f"| `{key.name}` | {_values(key)} | {default} | {key.description} |".replace("|  |", "| |"))
    for name, key in keys.items():
        if key.table is not None:
            lines += [*([""] if lines else []), *_markdown(key.table, f"[[{name}]]" if key.is_array else f"[{name}]")]
    return lines


def _values(key: Key) -> str:
    """Which values a key takes, in words."""
    if key.values is not None:
        return key.values
    if key.choices:
        return ", ".join(map(str, key.choices))
    if key.base is bool:
        return "true, false"
    if key.low is not None and key.high is not None:
        unit = f" {key.unit}" if key.unit else ""
        return f"{_plain(key.low)} to {_plain(key.high)}{unit}{'' if key.base is float else ', whole'}"
    return TEXT


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
