"""Settings: each key is declared once, with type, bounds, unit and a line of description, and read in one place.

declare    `key` and the types of texts; what is known of each key of a file
check      a value against its key
reader     a TOML file against a declared type, mistakes with file and line
lines      where each key of a TOML text stands
describe   flags' help, the documents' tables and JSON Schema, from the same declarations
"""

from edgeguard.settings.check import checked, kept, shown
from edgeguard.settings.declare import Address, Key, PictureSize, Text, key, keys_of, tables_of, version
from edgeguard.settings.describe import help_text, json_schema, markdown_tables
from edgeguard.settings.lines import line_of
from edgeguard.settings.reader import (
    Problem,
    built,
    check_document,
    parse_toml,
    place,
    read_toml,
    read_values,
)

__all__ = [
    "Address",
    "Key",
    "PictureSize",
    "Problem",
    "Text",
    "built",
    "check_document",
    "checked",
    "help_text",
    "json_schema",
    "kept",
    "key",
    "keys_of",
    "line_of",
    "markdown_tables",
    "parse_toml",
    "place",
    "read_toml",
    "read_values",
    "shown",
    "tables_of",
    "version",
]
