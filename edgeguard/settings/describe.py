"""What people and programs are told of the keys of a file: tables for documents, JSON Schema."""

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

import msgspec

from edgeguard.settings.check import type_of
from edgeguard.settings.declare import Key, plain

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def markdown_tables(keys: Mapping[str, Key]) -> str:
    """The keys of a file for a document: a Markdown table for the file and for each of its tables."""
    return "\n".join(_markdown(keys, ""))


def json_schema(keys: Mapping[str, Key], title: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a file; `unit` beside each number that has one.

    Texts that the reader takes as numbers (`every = "3"`) are none here, and what only the reader can check (that a
    codec's name is one, say) is not said.
    """
    return {"$schema": DRAFT, "title": title, **_object(keys)}


def _object(keys: Mapping[str, Key]) -> dict[str, Any]:
    declared = _ordered(keys)
    required = [name for name, one in declared.items() if one.is_required]
    return {
        "type": "object",
        "properties": {name: _property(one) for name, one in declared.items()},
        **({"required": required} if required else {}),
        "additionalProperties": any(one.rest for one in keys.values()),
    }


def _ordered(keys: Mapping[str, Key]) -> dict[str, Key]:
    """The keys that stand in the file, the version of the format first."""
    return {name: one for name, one in sorted(keys.items(), key=lambda one: one[0] != "schema") if not one.rest}


def _property(key: Key) -> dict[str, Any]:
    said: dict[str, Any] = {"description": key.description} if key.description else {}
    if key.table is not None:
        table = _object(key.table)
        if key.many is not None:
            said["anyOf"] = [table, {"type": "array", "minItems": 1, "items": _object(key.many)}]
            return said
        return {**said, **({"type": "array", "minItems": 1, "items": table} if key.is_array else table)}
    said |= key.schema or msgspec.json.schema(type_of(key))
    if key.choices:
        said["enum"] = list(key.choices)  # in the order of the declaration
    if key.unit is not None:
        said["unit"] = key.unit
    if key.default is not MISSING and key.default is not None:
        said["default"] = list(key.default) if isinstance(key.default, tuple) else key.default
    return said


def _markdown(keys: Mapping[str, Key], title: str) -> list[str]:
    lines = []
    leaves = [one for one in _ordered(keys).values() if one.table is None]
    if leaves:
        lines += [f"| {f'`{title}`' if title else 'key'} | values | default | |", "|---|---|---|---|"]
        for key in leaves:
            default = "required" if key.is_required else "" if key.default in (None, "", (), {}) else plain(key.default)
            cells = (f"`{key.name}`", key.range or "text", default, key.description)
            lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    for name, key in keys.items():
        if key.table is not None:
            lines += [*([""] if lines else []), *_markdown(key.table, f"[[{name}]]" if key.is_array else f"[{name}]")]
        if key.many is not None:
            lines += ["", *_markdown(key.many, f"[[{name}]]")]
    return lines
