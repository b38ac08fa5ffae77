"""Flags that would have no effect on what was asked for: refused, instead of taken and ignored."""

from collections.abc import Iterable

import typer

from edgeguard.errors import InputError


def given(context: typer.Context, name: str) -> bool:
    """True where the flag of this parameter stands on the command line, with whatever value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_ignored(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse flags that have no effect together with what else was given.

    Args:
        context: of the command.
        names: parameters of the command's function.
        why: goes after the flag's name, for example `is for --arm noise`.

    Raises:
        InputError: one of them was given; the message begins with its flag.
    """
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in names:
        if given(context, name):
            raise InputError(f"{flags[name]} {why}")
