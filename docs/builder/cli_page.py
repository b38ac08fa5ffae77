"""The page of the command line, made from the commands themselves."""

from typing import Any

import typer


def cli_page(app: typer.Typer) -> str:
    """Markdown: a section for each command, with its usage, arguments and options.

    Args:
        app: the command line.

    Example:
        >>> from edgeguard.cli.main import app
        >>> "## edgeguard run" in cli_page(app)
        True
    """
    head = [
        "# The command line", "",
        "This page is made from the commands. `--help` after any of them prints the same.", "",
    ]  # fmt: skip
    return "\n".join([*head, *_sections(typer.main.get_command(app), ("edgeguard",))])


def _sections(command: Any, path: tuple[str, ...]) -> list[str]:
    if hasattr(command, "commands"):
        own = [f"## {' '.join(path)}", "", _sentence(command.help), ""] if len(path) > 1 else []
        return own + [line for name, one in command.commands.items() for line in _sections(one, (*path, name))]
    return _section(command, path)


def _section(command: Any, path: tuple[str, ...]) -> list[str]:
    shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option"]
    words = [*path, *(["[OPTIONS]"] if options else []), *(_argument(one) for one in arguments)]
    lines = [
        f"{'#' * min(len(path), 3)} {' '.join(path)}",
        "",
        f"    {' '.join(words)}",
        "",
        _sentence(command.help),
        "",
    ]
    if shown:
        lines += ["| argument or option | values | default | |", "|---|---|---|---|"]
        lines += [_row(one) for one in (*arguments, *options)] + [""]
    if command.epilog:
        lines += [_sentence(command.epilog.partition(":")[0]) + ":", "", *_examples(command.epilog), ""]
    return lines


def _examples(epilog: str) -> list[str]:
    said = epilog.partition(":")[2].strip()
    return [f"    {one.strip().removeprefix('or: ')}" for one in said.split("   or: ")]


def _argument(one: Any) -> str:
    name = str(one.human_readable_name).upper().strip("[]")
    return (name if one.required else f"[{name}]") + ("..." if one.nargs == -1 else "")


def _row(one: Any) -> str:
    is_argument = one.param_type_name == "argument"
    name = f"`{_argument(one)}`" if is_argument else ", ".join(f"`{opt}`" for opt in (*one.opts, *one.secondary_opts))
    default = "required" if one.required else _default(one.default)
    values = "" if getattr(one, "is_flag", False) else _values(one.type)
    return (
        "|"
        + "|".join(f" {_cell(cell)} " if cell else " " for cell in (name, values, default, _sentence(one.help)))
        + "|"
    )


def _values(kind: Any) -> str:
    choices = getattr(kind, "choices", None)
    if choices:
        return ", ".join(str(getattr(choice, "value", choice)) for choice in choices)
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None or high is not None:
        return f"{'' if low is None else low} to {'' if high is None else high}".strip()
    return {"integer": "whole number", "float": "number", "str": "text"}.get(str(kind.name), str(kind.name))


def _default(value: Any) -> str:
    if value is None or value is False or value == () or value == [] or callable(value):
        return ""
    return "on" if value is True else str(getattr(value, "value", value))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    """Text of a table's cell: no bars that end it, no angles and asterisks that Markdown would take."""
    return text if text.startswith("`") else text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
