"""What the scripts of a release share: running a program, and ending with one line."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
WORK = ROOT / "build" / "release"
#: What would let a caller's own settings into an environment that is to be clean.
_PRIVATE = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "CMAKE_ARGS",
    "LD_LIBRARY_PATH",
)


class ReleaseError(Exception):
    """A step of the release failed; its text is the line that the user sees."""


def clean_variables(**changes: str) -> dict[str, str]:
    """This process's variables without those that reach into Python, a compiler or EdgeGuard, and with `changes`."""
    kept = {k: v for k, v in os.environ.items() if k not in _PRIVATE and not k.startswith("EDGEGUARD_")}
    return kept | changes


def attempt(
    command: Sequence[str | Path], *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it prints."""
    try:
        return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=900, check=False)
    except FileNotFoundError as error:
        raise ReleaseError(f"{command[0]} is not there") from error
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"{_named(command)} does not end within 15 minutes") from error


def output(command: Sequence[str | Path], *, cwd: Path = ROOT, variables: Mapping[str, str] | None = None) -> str:
    """Run a program that has to succeed, and return its standard output.

    Raises:
        ReleaseError: it failed; what it printed goes to standard error.
    """
    done = attempt(command, cwd=cwd, variables=variables)
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        raise ReleaseError(f"{_named(command)} failed with exit code {done.returncode}")
    return done.stdout


def single(folder: Path, pattern: str) -> Path:
    """The one file in `folder` that the pattern fits."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ReleaseError(f"{len(found)} files {pattern} in {folder}, one is wanted: make wheels")
    return found[0]


def run_script(name: str, work: Callable[[], None]) -> int:
    """Do a script's work; its exit code. A failure is one line."""
    start = time.monotonic()
    try:
        work()
    except ReleaseError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(f"{name}: done in {time.monotonic() - start:.0f} s")
    return 0


def _named(command: Sequence[str | Path]) -> str:
    words = [str(word) for word in command]
    return " ".join([Path(words[0]).name, *words[1:4]])
