"""`edgeguard service`: running as a systemd service."""

from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Run as a systemd service: hardened, watched, restarted.")


@app.command(epilog="Example: edgeguard service install --config /etc/edgeguard.toml   (with sudo)")
def install(
    config: Annotated[Path, typer.Option(help="The run's configuration file.")],
    unit: Annotated[Path | None, typer.Option(help="The unit. [/etc/systemd/system/edgeguard.service]")] = None,
    no_start: Annotated[bool, typer.Option("--no-start", help="Write the unit only.")] = False,
) -> None:
    """Check the configuration, write the unit, enable and start it."""
    from edgeguard.run.service import UNIT
    from edgeguard.run.service import install as install_unit

    if not config.is_file():
        raise InputError(f"{config} is not there")
    on_stdout(install_unit(config, unit or UNIT, start=not no_start))
