"""The command line in this process: the same lines and exit codes as from outside, without loading everything anew.

Not for `convert`, which goes on in a forked child.
"""

import io
import os
import signal
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `edgeguard WORDS`; what Python prints is kept, not what native libraries print."""
    from edgeguard.cli.main import run_line

    arguments = [str(word) for word in words]
    assert arguments[:1] != ["convert"], "its child would go on with the tests"
    with (
        warnings.catch_warnings(),
        patch.dict(os.environ),
        redirect_stdout(io.StringIO()) as stdout,
        redirect_stderr(io.StringIO()) as stderr,
        patch.object(sys, "argv", ["edgeguard", *arguments]),
    ):
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            run_line()
        except SystemExit as end:
            code = end.code
        finally:  # children of later tests would inherit them
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())
