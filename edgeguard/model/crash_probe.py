"""Trying a model in a child process first: a hostile file that crashes the runtime then crashes the child."""

import signal
import subprocess
import sys

from edgeguard.errors import DeviceError, InputError

_TIMEOUT_S = 120


def probe(data: bytes, delegate: str = "cpu") -> None:
    """Load the very bytes that are to be used in another process, allocate, and run once on zeros.

    Args:
        data: the .tflite.
        delegate: `cpu` or `edgetpu`.

    Raises:
        InputError: the child refused them, crashed on them, or did not end.
        DeviceError: the Edge TPU cannot be used.
    """
    command = [sys.executable, "-c", "from edgeguard.model.crash_probe import main; main()", delegate]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"the runtime does not finish with the model within {_TIMEOUT_S} s") from error
    if done.returncode == 0:
        return
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        cause = "" if delegate == "cpu" else "libedgetpu does not fit the runtime, or "
        raise InputError(f"the runtime crashes on the model ({name}): {cause}the file is damaged or hostile")
    kind = DeviceError if done.returncode == DeviceError.exit_code else InputError
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
    raise kind(lines[-1])


def main() -> None:
    """The child."""
    import numpy as np

    from edgeguard.errors import EdgeGuardError
    from edgeguard.model.edgetpu import edgetpu_delegate
    from edgeguard.model.runtime import load_runner, runtime

    try:
        delegates = [edgetpu_delegate(runtime()[3])] if sys.argv[1] == "edgetpu" else []
        runner = load_runner(sys.stdin.buffer.read(), delegates=delegates)
        for position, detail in enumerate(runner.inputs):
            runner.set(np.zeros(detail["shape"], detail["dtype"]), position)
        runner.invoke()
    except (EdgeGuardError, ValueError, RuntimeError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(getattr(error, "exit_code", InputError.exit_code))
