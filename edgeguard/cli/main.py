"""The command line. Nothing heavy is imported here: each command imports what it needs when it runs."""

import os
import sys
from typing import Any, NoReturn

import typer

import edgeguard
from edgeguard.cli.commands import LazyGroup
from edgeguard.cli.messages import beside_results, on_stderr, on_stdout, quiet_libraries
from edgeguard.cli.supervise import in_child
from edgeguard.errors import EdgeGuardError, is_out_of_memory
from edgeguard.system.termination import end_beside_threads

app = typer.Typer(
    name="edgeguard",
    cls=LazyGroup,
    help="Vision models on a Raspberry Pi or a Coral, defended in the sensor path.",
    epilog="Example: edgeguard convert model.pt && edgeguard run model.tflite --camera 0",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    suggest_commands=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        on_stdout(f"edgeguard {edgeguard.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show a traceback on errors (anywhere on the line)."),
) -> None:
    """Vision models on a Raspberry Pi or a Coral, defended in the sensor path."""


def main() -> NoReturn:
    """Run the command line and exit with 0, 1, 2, 3 (`edgeguard.errors`), 70 for a bug of ours, or 130."""
    end_beside_threads(run_line)


def run_line() -> NoReturn:
    """The same in a process that goes on: all that it does at its end is to raise `SystemExit`."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) != len(sys.argv) - 1
    if not debug:
        quiet_libraries()
    try:
        if arguments[:1] == ["convert"] and not {"-h", "--help"} & set(arguments):
            in_child("the conversion")
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader went away: nobody is left to tell
        _exit(0)
    except (KeyboardInterrupt, typer.Abort):
        _exit(130, "interrupted")
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click's, wherever typer keeps it: nothing was typed
            beside_results(*str(error).splitlines())
            _exit(2)
        if debug:
            raise
        _exit(*_explain(error))
    _exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> tuple[int, str]:
    """Exit code and one line for an error."""
    if is_out_of_memory(error):  # before anything else is loaded
        return 3, f"not enough memory: {_one_line(error) or 'the system gave none'}"
    if isinstance(error, EdgeGuardError):
        return error.exit_code, _one_line(error)
    usage: Any = getattr(error, "format_message", None)  # click's usage errors, wherever typer keeps them
    if usage is not None:
        return 2, f"{usage()}{_hint(error)} (see --help)"
    if isinstance(error, OSError):
        return 3, f"{error.filename or 'a file'}: {error.strerror or error}"
    return 70, f"a bug of ours: {type(error).__name__}: {_one_line(error)} (--debug shows where)"


def _hint(error: Any) -> str:
    """A file after the model is what the command is to work on, which has a flag."""
    extra = "unexpected extra argument" in str(getattr(error, "message", ""))
    command = getattr(getattr(error, "ctx", None), "command", None)
    flags = {name for one in getattr(command, "params", ()) for name in one.opts}
    named = next((flag for flag in ("--source", "--images", "--calibrate") if flag in flags), None)
    return f": give it with {named}" if extra and named else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _exit(code: int, message: str | None = None) -> NoReturn:
    if message is not None:
        on_stderr(message)
    sys.exit(code)
