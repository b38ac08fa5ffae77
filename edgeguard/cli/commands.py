"""The commands by name: what `--help` says of each, and its module, which is imported when the command is used."""

import importlib
from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group_from_info
from typer.models import TyperInfo

from edgeguard.cli.overwrites import refuse_overwriting
from edgeguard.system.extras import missing_part

#: In the order of a user's way; a module of this package has the command's name.
SUMMARIES = {
    "convert": "Turn a trained model into an int8 .tflite with its own defense.",
    "run": "Capture, sanitize in the sensor path, infer, report.",
    "evaluate": "Attack a deployed classifier and its guard; compare, certify.",
    "train": "Train a small classifier, through the guard if you like.",
    "data": "Training data: manifest, signature, and an audit for poison.",
    "poison": "Make poisoned training data, and measure what they do.",
    "patch": "Make, print and check physical adversarial patches.",
    "fieldtest": "Learn whether a physical patch works and a guard helps.",
    "firmware": "The camera's own JPEG encoder: boards, tables, checks.",
    "fleet": "Signed bundles for many devices, and how the fleet is.",
    "guard": "Design and inspect the defense.",
    "model": "Look into a model file, or check it against its manifest.",
    "sensor": "Capture, do pass 1 on each frame, and send it sealed.",
    "config": "Check a configuration file, or show what would hold.",
    "service": "Run as a systemd service: hardened, watched, restarted.",
    "bench": "Time every stage on this machine, with memory and heat.",
    "demo": "Convert the bundled model, run a clip, attack it, show it.",
    "doctor": "Check runtime, cameras, Edge TPU and power of this machine.",
}  # fmt: skip

_PATHS = frozenset({"path", "file", "directory"})  # types of parameters


class Commands(MutableMapping[str, Any]):
    """click's commands by name, each made when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in SUMMARIES:
                raise KeyError(name)
            self._made[name] = _made(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SUMMARIES)

    def __len__(self) -> int:
        return len(SUMMARIES)


class LazyGroup(TyperGroup):
    """`edgeguard` itself: its help imports no command, and a command imports no other."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


def _made(name: str) -> Any:
    try:
        module = importlib.import_module(f"edgeguard.cli.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("edgeguard.cli."):
            raise
        raise missing_part(error, f"the command {name}", name) from error
    if hasattr(module, "app"):
        return _careful(
            get_group_from_info(TyperInfo(module.app), pretty_exceptions_short=True, rich_markup_mode=None,
                                suggest_commands=True)
        )  # fmt: skip
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, epilog=module.EXAMPLE)(getattr(module, f"{name}_command"))
    return _careful(get_command(alone))


def _careful(command: Any) -> Any:
    """The same command; it refuses empty paths, which Python takes for the folder that one is in, and outputs onto
    what it reads."""
    for parameter in command.params:
        if parameter.type.name in _PATHS:
            parameter.type.convert = partial(_converted, parameter.type, parameter.type.convert)
    for one in getattr(command, "commands", {}).values():
        _careful(one)
    command.invoke = partial(_invoked, command, command.invoke)
    return command


def _invoked(command: Any, invoke: Callable[[Any], Any], context: Any) -> Any:
    said = {one.name: (one.opts[0], one.human_readable_name) for one in command.params}
    refuse_overwriting(context.params, {k: flag if flag[0] == "-" else name for k, (flag, name) in said.items()})
    return invoke(context)


def _converted(kind: Any, convert: Callable[..., Any], value: Any, parameter: Any, context: Any) -> Any:
    if value == "":
        kind.fail("it is empty (is a variable of your shell not set?)", parameter, context)
    return convert(value, parameter, context)
