"""The command line in a process of its own, and how it refuses."""

import subprocess
import sys
from pathlib import Path

LAUNCH = [sys.executable, "-c", "from edgeguard.cli.main import main; main()"]


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=cwd)


def refused(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    """Exit code, and the last line (the only one of ours that is an error) says what is wrong."""
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("edgeguard: ") and message in last and "Traceback" not in done.stderr, done.stderr
