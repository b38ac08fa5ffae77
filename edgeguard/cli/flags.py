"""Flags that stand for a key of a settings file: their help comes from the key's declaration."""

from typing import Any

import typer

from edgeguard.settings.declare import keys_of


def flag(kind: type, name: str) -> Any:
    """The option of a key: description, values, unit and default. The value is checked with the file's, not here."""
    return typer.Option(help=keys_of(kind)[name].help)
