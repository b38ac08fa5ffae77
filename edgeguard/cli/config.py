"""`edgeguard config`: checking a configuration file, and showing where each value comes from."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check a configuration file of run, or show what would hold.")


@app.command(epilog="Example: edgeguard config check edgeguard.toml")
def check(file: Annotated[Path, typer.Argument(help="A TOML file.")]) -> None:
    """Refuse unknown keys and values out of bounds, with file and line; nothing is opened or written."""
    from edgeguard.run.settings import read_file

    print(f"{file}: {len(read_file(file))} values, all known and within bounds")


@app.command(epilog="Example: edgeguard config show edgeguard.toml")
def show(
    file: Annotated[Path | None, typer.Argument(help="A TOML file. [none: environment and defaults]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Every value, and where it comes from: environment, file or default."""
    from edgeguard.run.settings import resolve, tables

    settings, origins = resolve({}, file)
    if as_json:
        print(
            json.dumps({name: {"value": getattr(settings, name), "from": origin} for name, origin in origins.items()})
        )
        return
    for table, keys in tables().items():
        print(f"[{table}]")
        for name in keys:
            value = getattr(settings, name)
            if value is None:
                print(f"# {name}")
            else:
                print(f"{f'{name} = {json.dumps(value)}':44} # {origins[name]}")
        print()
