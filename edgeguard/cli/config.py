"""`edgeguard config`: checking a configuration file, and showing where each value comes from."""

import importlib
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.settings.declare import Key
from edgeguard.system.extras import missing_part

if TYPE_CHECKING:
    from edgeguard.run.settings import Settings


class Kind(StrEnum):
    """Files that have a schema."""

    RUN = "run"
    TRAIN = "train"
    SOUND = "sound"
    PROTOCOL = "protocol"
    BOARD = "board"
    PROFILE = "profile"


#: The modules that declare them, each with a function `file_keys`.
_MODULES = {
    Kind.RUN: "edgeguard.run.settings",
    Kind.TRAIN: "edgeguard.train.config",
    Kind.SOUND: "edgeguard.audio_training.config",
    Kind.PROTOCOL: "edgeguard.evaluate.protocol",
    Kind.BOARD: "edgeguard.firmware.board",
    Kind.PROFILE: "edgeguard.dct.profile",
}


app = typer.Typer(
    no_args_is_help=True, help="Check a configuration file of run, show what would hold, or the keys of any file."
)


@app.command(epilog="Example: edgeguard config check edgeguard.toml")
def check(file: Annotated[Path, typer.Argument(help="A TOML file.")]) -> None:
    """Refuse unknown keys and values out of bounds, with file and line; nothing is opened or written."""
    from edgeguard.run.settings import read_file

    found = read_file(file)
    cameras, rules = found.pop("cameras", ()), found.pop("rules", None)
    count = len(found) + sum(value is not None for one in cameras for value in vars(one).values())
    tables = [f"{len(cameras)} cameras"] if cameras else []
    if rules is not None:
        tables += [f"{len(group)} {name}" for name, group in vars(rules).items() if group]
    on_stdout(f"{file}: {count} values, all known and within bounds" + "".join(f", {one}" for one in tables))
    if rules is not None:
        on_stdout("whether the model has these classes and boxes is not looked at: the start of a run does")


@app.command(epilog="Example: edgeguard config show edgeguard.toml")
def show(
    file: Annotated[Path | None, typer.Argument(help="A TOML file. [none: environment and defaults]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Every value, and where it comes from: environment, file or default."""
    from edgeguard.run.settings import Settings, resolve, tables
    from edgeguard.settings.declare import keys_of

    declared_keys = keys_of(Settings)
    settings, origins = resolve({}, file)
    if as_json:
        on_stdout(
            json.dumps({name: {"value": getattr(settings, name), "from": origin} for name, origin in origins.items()})
        )
        return
    for table, keys in tables().items():
        if table == "camera" and settings.cameras:
            continue  # their tables follow
        on_stdout(f"[{table}]")
        for name in keys:
            value = getattr(settings, name)
            if value is None:
                on_stdout(f"{f'# {name} =':44} # {declared_keys[name].help}")
            else:
                on_stdout(f"{f'{name} = {json.dumps(value)}':44} # {origins[name]}")
        on_stdout("")
    for line in _arrays(settings):
        on_stdout(line)


@app.command(epilog="Example: edgeguard config schema train > edgeguard-train.schema.json")
def schema(kind: Annotated[Kind, typer.Argument(help="Whose file.")] = Kind.RUN) -> None:
    """The file's keys as JSON Schema (draft 2020-12), for editors and checkers."""
    from edgeguard.settings.describe import json_schema

    on_stdout(*json.dumps(json_schema(declared(kind), f"EdgeGuard {kind} file"), indent=2).splitlines())


@app.command(epilog="Example: edgeguard config table run")
def table(kind: Annotated[Kind, typer.Argument(help="Whose file.")] = Kind.RUN) -> None:
    """The file's keys as Markdown: values, units, defaults and what they do."""
    from edgeguard.settings.describe import markdown_tables

    on_stdout(*markdown_tables(declared(kind)).splitlines())


def _arrays(settings: "Settings") -> list[str]:
    """The arrays of tables of a file, as TOML."""
    rules, lines = settings.rules, list[str]()
    groups = (("camera", settings.cameras), ("zone", rules.zones), ("mask", rules.masks), ("class", rules.classes),
              ("event", rules.events))  # fmt: skip
    for name, group in groups:
        for one in group:
            said = [f"{key} = {json.dumps(value)}" for key, value in vars(one).items() if value is not None]
            lines += [f"[[{name}]]", *said, ""]
    return lines


def declared(kind: Kind) -> dict[str, Key]:
    """The keys of a kind of file."""
    try:
        module = importlib.import_module(_MODULES[kind])
    except ImportError as error:
        raise missing_part(error, str(kind), "attack") from error
    keys: dict[str, Key] = module.file_keys()
    return keys
