"""Flags that stand for a key of a settings file: their help comes from the key's declaration."""

from typing import Any

import typer

from edgeguard.settings import help_text


def flag(kind: type, name: str) -> Any:
    """The option of a key: description, values, unit and default. The value is checked with the file's, not here."""
    return typer.Option(help=help_text(kind, name))
