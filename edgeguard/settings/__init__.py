"""Settings: each key is declared once, with type, bounds, unit and a line of description, and read in one place.

declare    `key`, the field of a dataclass that is a key of a file, and what is known of it
check      a value against its key (msgspec)
reader     a TOML file against its keys, mistakes with file and line
lines      where each key of a TOML text stands
describe   the documents' tables and JSON Schema, from the same declarations
"""
